package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/domicile-project/domicile/residency/store"
)

// readDrives reads which drives and snapshots the tenant has. What does not open is for the looks at the rows to find;
// so is a drive's key.
func (c *tenantCheck) readDrives(ctx context.Context) error {
	drives, snapshots := make(map[store.ID]store.ID), make(map[store.ID]store.ID)
	err := c.view(ctx, store.Scope{Tenant: c.home.tenant}, func(tx store.Tx) error {
		t := c.txn(ctx, tx)
		err := tx.Scan(store.KindDrive, "", "", func(id store.ID, value []byte) bool {
			if row, _, err := t.openDrive(id, value); err == nil {
				drives[row.Self] = id
			}
			return true
		})
		if err != nil {
			return err
		}
		return tx.Scan(store.KindSnapshot, "", "", func(id store.ID, _ []byte) bool {
			if len(id) == 2*idSize {
				snapshots[id[idSize:]] = id[:idSize]
			}
			return true
		})
	})
	c.drives, c.snapshots = drives, snapshots
	return err
}

// lockOf is the lock on the drive that an extent's row belongs to; "" when that drive is not there.
func (c *tenantCheck) lockOf(id store.ID) store.ID {
	of := firstID(id)
	if self, ok := c.snapshots[of]; ok {
		of = self
	}
	return c.drives[of]
}

func (c *tenantCheck) driveRow(t *txn, id store.ID, value []byte) ([]problem, error) {
	row, _, err := t.openDrive(id, value)
	if err != nil {
		return wrong(RowDamaged, doesNotOpen), nil //nolint:nilerr // it is found
	}
	if c.tk.ID("drive", row.ID) != id {
		return wrong(RowDamaged, "it is the row of another drive"), nil
	}
	_, err = c.region.Vault.Drive(t.ctx, c.tk, row.Self)
	if errors.Is(err, store.ErrNotFound) {
		return []problem{{KeyMissing, whatDrive(c.home.tenant, row.Self), "the drive has no key: nothing that is written to it can be opened"}}, nil
	}
	return nil, unlessDamaged(err)
}

func (c *tenantCheck) snapshotRow(t *txn, id store.ID, value []byte) ([]problem, error) {
	if len(id) != 2*idSize {
		return wrong(RowDamaged, "its identifier has another length than a snapshot's"), nil
	}
	var row snapshotRow
	if _, err := t.openRow(c.tk, store.KindSnapshot, id, value, &row); err != nil {
		return wrong(RowDamaged, doesNotOpen), nil //nolint:nilerr // it is found
	}
	if _, ok := c.drives[id[:idSize]]; !ok {
		return c.driveless(t, id[:idSize])
	}
	return nil, nil
}

// driveless says what it is that snapshots or extents are there of a drive that is not. A deleted drive takes its key and its
// snapshots with it, and its extents with a task: what has a key was not deleted. A drive whose row is there and
// does not open is that row's finding.
func (c *tenantCheck) driveless(t *txn, self store.ID) ([]problem, error) {
	damaged, err := c.driveDamaged(t)
	if damaged || err != nil {
		return nil, err
	}
	_, err = c.region.Vault.Drive(t.ctx, c.tk, self)
	if err == nil {
		return []problem{{DriveMissing, whatDrive(c.home.tenant, self), "there are extents or snapshots of the drive, and its key, and its row is not there"}}, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, unlessDamaged(err)
	}
	return nil, c.awaitExtents(t.ctx, self)
}

// driveDamaged reports whether a row of the tenant's drives does not open: which drive's it is nothing tells.
func (c *tenantCheck) driveDamaged(t *txn) (damaged bool, err error) {
	err = t.Scan(store.KindDrive, "", "", func(id store.ID, value []byte) bool {
		_, _, bad := t.openDrive(id, value)
		damaged = bad != nil
		return !damaged
	})
	return damaged, err
}

// awaitExtents notes extents of nothing: a sweep comes for them, or they stay.
func (c *tenantCheck) awaitExtents(ctx context.Context, of store.ID) error {
	finding := c.finding(ExtentOrphan, whatDrive(c.home.tenant, of), "there are extents of a drive or snapshot that is not there, and no task sees to it")
	return c.await(ctx, c.home.tenant, of, finding, func(ctx context.Context) (there bool, err error) {
		err = c.view(ctx, store.Scope{Tenant: c.home.tenant}, func(tx store.Tx) (err error) {
			there, err = anyRow(tx, store.KindExtent, of)
			return err
		})
		return there, err
	})
}

// nearHold is the hold on the blob that a snapshot's extent names.
func (c *tenantCheck) nearHold(id store.ID, value []byte) []store.Row {
	if _, ok := c.snapshots[firstID(id)]; !ok {
		return nil
	}
	x, err := (&txn{tk: c.tk, a: &act{op: "gateway.Fsck"}}).openExtent(id, value)
	if err != nil {
		return nil
	}
	return []store.Row{{Kind: store.KindHold, ID: holdsOf(x.Blob) + firstID(id)}}
}

func (c *tenantCheck) extentRow(t *txn, id store.ID, value []byte) ([]problem, error) {
	of := firstID(id)
	chunk, err := t.chunkOf(of, id)
	if err != nil || len(of) != idSize {
		return wrong(RowDamaged, "its identifier has another length than an extent's"), nil //nolint:nilerr // it is found
	}
	x, err := t.openExtent(id, value)
	if err != nil {
		return wrong(RowDamaged, doesNotOpen), nil //nolint:nilerr // it is found
	}
	if !strings.HasPrefix(x.Blob, c.home.tenant.String()+"/") || x.Length < 1 || x.Length > chunkSize {
		return wrong(RowDamaged, "it names no blob of the tenant, or more of it than a chunk has"), nil
	}
	_, kept := c.snapshots[of]
	if _, ok := c.drives[of]; !ok && !kept {
		return c.driveless(t, of)
	}
	if !kept {
		return nil, nil
	}
	number, there, err := has(t.Tx, store.KindHold, holdsOf(x.Blob)+of)
	if err != nil || there && len(number) == 8 && binary.BigEndian.Uint64(number) == uint64(chunk) { //nolint:gosec // never negative
		return nil, err
	}
	return wrong(HoldMissing, "the snapshot has no hold on its blob "+x.Blob), nil
}

func (c *tenantCheck) holdRow(t *txn, id store.ID, value []byte) ([]problem, error) {
	if len(id) != 2*idSize || len(value) != 8 {
		return wrong(RowDamaged, "it is no hold of a snapshot on a blob"), nil
	}
	snapshot := id[idSize:]
	finding := c.problem(store.KindHold, id, problem{HoldOrphan, "", "it holds a blob for a snapshot that is not there or does not have it, and no task sees to it"})
	if _, ok := c.snapshots[snapshot]; !ok {
		return nil, c.await(t.ctx, c.home.tenant, snapshot, finding, func(ctx context.Context) (bool, error) { return c.rowThere(ctx, store.KindHold, id) })
	}
	extent := snapshot + store.ID(value)
	sealed, there, err := has(t.Tx, store.KindExtent, extent)
	if err != nil {
		return nil, err
	}
	if !there {
		return wrong(HoldOrphan, finding.Detail), nil
	}
	x, err := t.openExtent(extent, sealed)
	if err != nil || holdsOf(x.Blob) == id[:idSize] { // an extent that does not open is found as such
		return nil, nil //nolint:nilerr // see above
	}
	return wrong(HoldOrphan, finding.Detail), nil
}
