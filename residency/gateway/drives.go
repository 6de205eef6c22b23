package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// A drive is cut into chunks, each an immutable blob of sealed segments.
const (
	chunkSize     = 4 << 20 // bytes of a drive in one blob
	chunkSegments = chunkSize / seal.SegmentSize
	sealedSegment = seal.SegmentSize + seal.SegmentOverhead
	maxDriveSize  = 16 << 40

	// maxTransfer is how much one call reads or writes: where all of it lies is
	// held in memory, and changed in one transaction.
	maxTransfer = 32 << 30
)

// extentID is the row of a chunk of a drive's incarnation.
func extentID(self store.ID, chunk int64) store.ID {
	return self + store.ID(binary.BigEndian.AppendUint64(nil, uint64(chunk)))
}

// CreateDrive creates an empty drive. Its key is made with it.
func (g *Gateway) CreateDrive(ctx context.Context, call *Call, req NewDrive) (Drive, error) {
	const op = "gateway.CreateDrive"
	if req.Size < 1 || req.Size > maxDriveSize {
		return Drive{}, residency.Bad(op, "size_bytes", "must be 1 to 17592186044416 (16 TiB)")
	}
	if req.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return Drive{}, residency.E(op, residency.Internal, err)
		}
		if req.RequestID != "" { // the same request must choose the same name
			id = uuid.NewSHA1(uuid.NameSpaceOID, []byte(call.Caller.ID+"\x00"+req.Tenant+"\x00"+strings.ToLower(req.RequestID)))
		}
		req.ID = id.String()
	}
	a := &act{call: call, op: op, tenant: req.Tenant, drive: req.ID, exclusive: true, inbound: true}
	var row driveRow
	var version uint64
	_, err := g.decide(ctx, a, func(t *txn) error {
		var err error
		row, version, err = t.createDrive(&req)
		return err
	})
	if err != nil {
		return Drive{}, err
	}
	return row.public(version), nil
}

func (t *txn) createDrive(req *NewDrive) (driveRow, uint64, error) {
	digest := func() store.ID { return t.tk.ID("create-drive", req.ID, req.Name, fmt.Sprint(req.Size)) }
	found, err := t.replay(req.RequestID, digest, func([]byte) {})
	if err != nil {
		return driveRow{}, 0, err
	}
	if found {
		return t.readDrive()
	}
	if _, _, err := t.readDrive(); residency.KindOf(err) != residency.NotFound {
		if err == nil {
			err = residency.E(t.a.op, residency.AlreadyExists, nil)
		}
		return driveRow{}, 0, err
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return driveRow{}, 0, residency.E(t.a.op, residency.Internal, err)
	}
	self := store.ID(id[:])
	if _, err := t.home.region.Vault.CreateDrive(t.ctx, t.tk, self); err != nil {
		return driveRow{}, 0, residency.E(t.a.op, residency.KeysUnavailable, err)
	}
	row := driveRow{Self: self, ID: req.ID, Name: req.Name, Size: req.Size, Created: t.now, Updated: t.now}
	if err := t.putDrive(&row, 1); err != nil {
		return driveRow{}, 0, err
	}
	return row, 1, t.remember(req.RequestID, nil)
}

func (t *txn) putDrive(row *driveRow, version uint64) error {
	return t.Put(store.KindDrive, t.drive, t.tk.SealFact(store.KindDrive, t.drive, version, row.encode()))
}

// readDrive reads the act's drive, or NOT_FOUND.
func (t *txn) readDrive() (driveRow, uint64, error) {
	sealed, err := t.Get(store.KindDrive, t.drive)
	if errors.Is(err, store.ErrNotFound) {
		return driveRow{}, 0, residency.E(t.a.op, residency.NotFound, nil)
	}
	if err != nil {
		return driveRow{}, 0, err
	}
	return t.openDrive(t.drive, sealed)
}

func (t *txn) openDrive(id store.ID, sealed []byte) (driveRow, uint64, error) {
	plain, version, err := t.tk.OpenFact(store.KindDrive, id, sealed)
	if err != nil {
		return driveRow{}, 0, err
	}
	row, err := decodeDrive(plain)
	if err == nil && len(row.Self) != idSize {
		err = errors.New("a drive has no incarnation")
	}
	if err != nil {
		return driveRow{}, 0, residency.E(t.a.op, residency.IntegrityFailure, err)
	}
	return row, version, nil
}

// GetDrive gives a drive's name, size and version.
func (g *Gateway) GetDrive(ctx context.Context, call *Call, tenant, drive string) (Drive, error) {
	var out Drive
	a := &act{call: call, op: "gateway.GetDrive", tenant: tenant, drive: drive}
	_, err := g.decide(ctx, a, func(t *txn) error {
		row, version, err := t.readDrive()
		out = row.public(version)
		return err
	})
	if err != nil {
		return Drive{}, err
	}
	return out, nil
}

// ListDrives lists a tenant's drives.
func (g *Gateway) ListDrives(ctx context.Context, call *Call, tenant string, page Page) ([]Drive, string, error) {
	var list []Drive
	var next string
	_, err := g.decide(ctx, &act{call: call, op: "gateway.ListDrives", tenant: tenant}, func(t *txn) error {
		list = nil
		p, err := t.page(page, "drives")
		if err != nil {
			return err
		}
		next, err = p.walk(t, store.KindDrive, "", func(id store.ID, sealed []byte) (bool, error) {
			row, version, err := t.openDrive(id, sealed)
			list = append(list, row.public(version))
			return true, err
		})
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return list, next, nil
}

// DeleteDrive deletes a drive and its snapshots. When it returns, their rows are gone and
// the key destroyed; the extents and blobs, unreadable now, are swept after.
func (g *Gateway) DeleteDrive(ctx context.Context, call *Call, req DeleteDrive) error {
	a := &act{call: call, op: "gateway.DeleteDrive", tenant: req.Tenant, drive: req.Drive, exclusive: true, inbound: true}
	var destroyed error
	t, err := g.decide(ctx, a, func(t *txn) error {
		digest := func() store.ID { return t.tk.ID("delete-drive", req.Drive, expectation(req.Expected)) }
		var self store.ID
		destroy := func(ctx context.Context) {
			destroyed = t.home.region.Vault.DestroyDrive(ctx, t.home.tenant, self)
		}
		found, err := t.replay(req.RequestID, digest, func(b []byte) { self = store.ID(b) })
		if err != nil {
			return err
		}
		if found { // the first call may not have come to the key
			t.later(destroy)
			return nil
		}
		row, version, err := t.readDrive()
		if err != nil {
			return err
		}
		if !matches(req.Expected, true, version) {
			return residency.E(a.op, residency.VersionMismatch, nil)
		}
		self = row.Self
		t.later(destroy)
		return errors.Join(
			t.Delete(store.KindDrive, t.drive),
			t.dropSnapshots(self),
			t.Schedule(store.Task{At: t.now, Tenant: t.home.tenant, Kind: store.TaskSweepDrive, ID: self, Value: []byte(t.drive)}),
			t.remember(req.RequestID, []byte(self)))
	})
	if err != nil {
		return err
	}
	if destroyed != nil { // the sweep destroys it; until then the caller must not believe it gone
		e := residency.E(a.op, residency.KeysUnavailable, destroyed)
		e.Decision = &t.decision
		return e
	}
	return nil
}

// driveFacts says of a drive's bytes that they are held for what they are used
// for when the policy's rule allows the purpose at all.
func driveFacts(_ *txn, r residency.Requirement) (policy.Finding, bool, error) {
	return policy.Finding{Met: true}, r == residency.RequirePurpose, nil
}

// driveKeys gives the keys of a drive's incarnation.
func (t *txn) driveKeys(self store.ID) (*seal.DriveKeys, error) {
	keys, err := t.home.region.Vault.Drive(t.ctx, t.tk, self)
	if errors.Is(err, store.ErrNotFound) {
		return nil, residency.E(t.a.op, residency.NotFound, nil)
	}
	if err != nil {
		return nil, residency.E(t.a.op, residency.KeysUnavailable, err)
	}
	return keys, nil
}

// extents reads where a range of chunks of a drive's incarnation is, the first
// to the last.
func (t *txn) extents(self store.ID, first, last int64) (map[int64]extentRow, error) {
	out := make(map[int64]extentRow)
	err := t.eachExtent(self, first, last, func(chunk int64, x extentRow) bool {
		out[chunk] = x
		return true
	})
	return out, err
}

// eachExtent visits a range of the chunks of a drive's incarnation or a snapshot
// in ascending order, until visit returns false.
func (t *txn) eachExtent(of store.ID, first, last int64, visit func(int64, extentRow) bool) error {
	var failed error
	after := store.ID("")
	if first > 0 {
		after = extentID(of, first-1)
	}
	err := t.Scan(store.KindExtent, of, after, func(id store.ID, sealed []byte) bool {
		var chunk int64
		if chunk, failed = t.chunkOf(of, id); failed != nil || chunk > last {
			return false
		}
		var row extentRow
		if row, failed = t.openExtent(id, sealed); failed != nil {
			return false
		}
		return visit(chunk, row)
	})
	if failed != nil {
		err = failed
	}
	return err
}

// chunkOf gives the chunk that an extent's row is about.
func (t *txn) chunkOf(of, id store.ID) (int64, error) {
	if len(id) != len(of)+8 {
		return 0, residency.E(t.a.op, residency.IntegrityFailure, errors.New("an extent's row is damaged"))
	}
	return int64(binary.BigEndian.Uint64([]byte(id[len(of):]))), nil
}

// putExtent writes an extent's row.
func (t *txn) putExtent(id store.ID, version uint64, x *extentRow) error {
	return t.Put(store.KindExtent, id, t.tk.SealFact(store.KindExtent, id, version, x.encode()))
}

func (t *txn) openExtent(id store.ID, sealed []byte) (extentRow, error) {
	plain, _, err := t.tk.OpenFact(store.KindExtent, id, sealed)
	if err != nil {
		return extentRow{}, err
	}
	row, err := decodeExtent(plain)
	if err != nil {
		return extentRow{}, residency.E(t.a.op, residency.IntegrityFailure, err)
	}
	return row, nil
}
