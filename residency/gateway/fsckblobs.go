package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"strings"

	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// blobDigest stands for a blob's name.
type blobDigest [holdSize]byte

func blobDigestOf(name string) blobDigest {
	sum := sha256.Sum256([]byte(name))
	return blobDigest(sum[:holdSize])
}

// part is a share of a tenant's blobs: those whose digest has the remainder.
type part struct{ modulus, remainder uint64 }

func (p part) has(d blobDigest) bool { return binary.BigEndian.Uint64(d[:8])%p.modulus == p.remainder }

// checkBlobs compares the tenant's blobs with what refers to them, and looks at drives, extents, snapshots and holds on the way.
//
// The order of the looks is what keeps a blob that comes or goes meanwhile from being taken for a forgotten one: the blobs
// first, then the streams that are writing some, then the extents and holds, and the agenda last. A blob that is
// in none was in none of them at one moment, and is not there any more or is forgotten.
func (c *tenantCheck) checkBlobs(ctx context.Context) error {
	for parts, first := []part{{1, 0}}, true; len(parts) > 0; first = false {
		p, set, rest, err := c.listBlobs(ctx, parts[0])
		if err != nil {
			return err
		}
		parts = append(parts[1:], rest...)
		if first {
			if err := c.readDrives(ctx); err != nil {
				return err
			}
		}
		streams, err := c.openStreams(ctx)
		if err != nil {
			return err
		}
		if err := c.checkExtents(ctx, set, p, first); err != nil {
			return err
		}
		if err := c.forgotten(ctx, set, streams); err != nil {
			return err
		}
	}
	return nil
}

// listBlobs lists a share of the tenant's blobs. Of more than can be held it lists a smaller share, which it gives, and gives the others.
func (c *tenantCheck) listBlobs(ctx context.Context, want part) (p part, set map[blobDigest]bool, rest []part, err error) {
	p, set = want, make(map[blobDigest]bool)
	err = c.cluster.Blobs.List(ctx, c.home.tenant.String()+"/", func(name string) bool {
		d := blobDigestOf(name)
		if !p.has(d) {
			return ctx.Err() == nil
		}
		set[d] = true
		c.progress("blobs", c.checked.Blobs+uint64(len(set)))
		if len(set) >= c.blobSet {
			rest = append(rest, part{2 * p.modulus, p.remainder + p.modulus})
			p.modulus *= 2
			maps.DeleteFunc(set, func(d blobDigest, _ bool) bool { return !p.has(d) })
		}
		return ctx.Err() == nil
	})
	c.checked.Blobs += uint64(len(set))
	return p, set, rest, errors.Join(err, ctx.Err())
}

// openStreams gives the decisions of the tenant's streams that are open.
func (c *tenantCheck) openStreams(ctx context.Context) (map[string]bool, error) {
	open := make(map[string]bool)
	err := c.view(ctx, store.Scope{Tenant: c.home.tenant}, func(tx store.Tx) error {
		return tx.Scan(store.KindStream, "", "", func(id store.ID, _ []byte) bool {
			if decision, err := fromNewestFirst(id); err == nil {
				open[decision.String()] = true
			}
			return true
		})
	})
	return open, err
}

// checkExtents takes what extents and holds refer to out of a set of blobs, and looks for what they refer to and
// is not in it. With rows it looks at the rows themselves too.
func (c *tenantCheck) checkExtents(ctx context.Context, set map[blobDigest]bool, p part, rows bool) error {
	refer := rowCheck{
		kind: store.KindExtent, lock: c.lockOf, uncounted: true, again: c.refersToBlob,
		look: func(t *txn, id store.ID, value []byte) ([]problem, error) { return c.refersTo(t, id, value, set, p) },
	}
	if err := c.each(ctx, refer); err != nil {
		return err
	}
	if !rows {
		return nil
	}
	for _, check := range []rowCheck{
		{kind: store.KindDrive, look: c.driveRow, lock: firstID},
		{kind: store.KindSnapshot, look: c.snapshotRow, lock: c.lockOf},
		{kind: store.KindExtent, look: c.extentRow, lock: c.lockOf, near: c.nearHold},
		{kind: store.KindHold, look: c.holdRow, lock: func(id store.ID) store.ID { return c.lockOf(id[min(idSize, len(id)):]) },
			near: func(id store.ID, value []byte) []store.Row {
				return []store.Row{{Kind: store.KindExtent, ID: id[min(idSize, len(id)):] + store.ID(value)}}
			}},
	} {
		if err := c.each(ctx, check); err != nil {
			return err
		}
	}
	return nil
}

// refersTo takes the blob that an extent names out of the set. One that is not in it came since, or is missing.
func (c *tenantCheck) refersTo(t *txn, id store.ID, value []byte, set map[blobDigest]bool, p part) ([]problem, error) {
	x, ok := c.namesBlob(t, id, value)
	if !ok {
		return nil, nil
	}
	d := blobDigestOf(x.Blob)
	if !p.has(d) {
		return nil, nil
	}
	if _, listed := set[d]; !listed {
		return c.refersToBlob(t, id, value)
	}
	set[d] = false
	if !c.o.Deep || !c.wanted(firstID(id)) {
		return nil, nil
	}
	return c.blobOpens(t.ctx, id, x)
}

// namesBlob opens an extent; ok is false for one that the look at the rows finds.
func (c *tenantCheck) namesBlob(t *txn, id store.ID, value []byte) (x extentRow, ok bool) {
	x, err := t.openExtent(id, value)
	return x, err == nil && len(id) == placeSize && strings.HasPrefix(x.Blob, c.home.tenant.String()+"/")
}

// refersToBlob looks for the blob that an extent names.
func (c *tenantCheck) refersToBlob(t *txn, id store.ID, value []byte) ([]problem, error) {
	x, ok := c.namesBlob(t, id, value)
	if !ok || !c.wanted(firstID(id)) {
		return nil, nil
	}
	there, err := c.blobThere(t.ctx, x.Blob)
	switch {
	case err != nil:
		return nil, err
	case !there:
		return []problem{{BlobMissing, "blob " + x.Blob, "a drive or snapshot refers to it, and it is not there"}}, nil
	case !c.o.Deep:
		return nil, nil
	}
	return c.blobOpens(t.ctx, id, x)
}

// wanted reports whether extents belong to a drive or a snapshot that is there: of others a sweep comes, in whatever order.
func (c *tenantCheck) wanted(of store.ID) bool {
	_, drive := c.drives[of]
	_, snapshot := c.snapshots[of]
	return drive || snapshot
}

func (c *tenantCheck) blobThere(ctx context.Context, name string) (bool, error) {
	r, err := c.cluster.Blobs.Open(ctx, name, 0, 1)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, r.Close()
}

// blobOpens opens every segment of a blob under both layers.
func (c *tenantCheck) blobOpens(ctx context.Context, id store.ID, x extentRow) ([]problem, error) {
	self := firstID(id)
	if drive, ok := c.snapshots[self]; ok {
		self = drive
	}
	keys, err := c.region.Vault.Drive(ctx, c.tk, self)
	if err != nil {
		return nil, unlessDamaged(unlessNotFound(err)) // found as the drive's
	}
	whole, err := c.verifyBlob(ctx, keys, int64(binary.BigEndian.Uint64([]byte(id[idSize:]))), x) //nolint:gosec // at most 4 Mi chunks
	if err != nil || whole {
		return nil, err
	}
	return []problem{{BlobDamaged, "blob " + x.Blob, "it is shorter than the extent that refers to it, or does not open under both layers"}}, nil
}

func (c *tenantCheck) verifyBlob(ctx context.Context, keys *seal.DriveKeys, chunk int64, x extentRow) (whole bool, err error) {
	count := (x.Length + seal.SegmentSize - 1) / seal.SegmentSize
	r, err := c.cluster.Blobs.Open(ctx, x.Blob, 0, x.Length+count*seal.SegmentOverhead)
	if err != nil {
		return false, unlessNotFound(err)
	}
	defer r.Close()
	sealed := buffers.Get().(*[sealedSegment]byte)
	defer buffers.Put(sealed)
	for i := range count {
		n := min(seal.SegmentSize, x.Length-i*seal.SegmentSize)
		if _, err := io.ReadFull(r, sealed[:n+seal.SegmentOverhead]); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, store.ErrCorrupt) {
				return false, nil
			}
			return false, err
		}
		length, err := keys.VerifySegment(x.Blob, segmentIndex(chunk, i), sealed[:n+seal.SegmentOverhead])
		if err != nil || int64(length) != n {
			return false, unlessDamaged(err)
		}
	}
	return true, nil
}

// forgotten awaits the deletion of what nothing refers to.
func (c *tenantCheck) forgotten(ctx context.Context, set map[blobDigest]bool, streams map[string]bool) error {
	maps.DeleteFunc(set, func(_ blobDigest, unreferred bool) bool { return !unreferred })
	if len(set) == 0 {
		return nil
	}
	prefix := c.home.tenant.String() + "/"
	var failed error
	err := c.cluster.Blobs.List(ctx, prefix, func(name string) bool {
		stream, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "/")
		d := blobDigestOf(name)
		if !set[d] || streams[stream] {
			return true
		}
		if c.lookedTwice = false; c.unreferred == nil {
			c.unreferred = make(map[blobDigest]bool)
		}
		c.unreferred[d] = true
		finding := c.finding(BlobOrphan, "blob "+name, "nothing refers to it, and no task deletes it")
		failed = c.await(ctx, c.home.tenant, store.ID(name), finding, func(ctx context.Context) (bool, error) { return c.stillForgotten(ctx, name, d) })
		return failed == nil
	})
	return errors.Join(err, failed)
}

// stillForgotten looks once more whether a blob is there and nothing refers to it.
func (c *tenantCheck) stillForgotten(ctx context.Context, name string, d blobDigest) (bool, error) {
	if !c.lookedTwice {
		if err := c.lookTwice(ctx); err != nil {
			return false, err
		}
	}
	if !c.unreferred[d] {
		return false, nil
	}
	return c.blobThere(ctx, name)
}

// lookTwice goes through all references once more, for all of the tenant's blobs that seem to have none. A row that does not open
// may be what refers to any of them.
func (c *tenantCheck) lookTwice(ctx context.Context) error {
	c.lookedTwice = true
	look := func(t *txn, id store.ID, value []byte) ([]problem, error) {
		x, ok := c.namesBlob(t, id, value)
		if !ok {
			clear(c.unreferred)
		}
		delete(c.unreferred, blobDigestOf(x.Blob))
		return nil, nil
	}
	if err := c.each(ctx, rowCheck{kind: store.KindExtent, uncounted: true, look: look}); err != nil {
		return err
	}
	held := func(_ *txn, id store.ID, _ []byte) ([]problem, error) {
		if len(id) == 2*idSize {
			delete(c.unreferred, blobDigest([]byte(id[:holdSize])))
		}
		return nil, nil
	}
	return c.each(ctx, rowCheck{kind: store.KindHold, uncounted: true, look: held})
}

// checkStrays looks for blobs of nobody: of no tenant that has rows, and of no log.
func (f *fsck) checkStrays(ctx context.Context) error {
	owner, known := "", false
	var failed error
	err := f.cluster.Blobs.List(ctx, "", func(name string) bool {
		first, _, _ := strings.Cut(name, "/")
		if first+"/" == tilePrefix {
			return true
		}
		if first != owner || !known {
			owner, known = first, true
			var nobodys bool
			if nobodys, failed = f.nobodys(ctx, first); nobodys && failed == nil {
				failed = f.suspect(ctx, func(ctx context.Context) ([]Finding, error) {
					nobodys, err := f.nobodys(ctx, first)
					if err != nil || !nobodys {
						return nil, err
					}
					names, err := blobsUnder(ctx, f.cluster.Blobs, name, 1)
					if err != nil || len(names) == 0 {
						return nil, err
					}
					return []Finding{f.finding(BlobStray, "blobs under "+first, "they belong to no tenant of the cluster and to no log, for example "+name)}, nil
				})
			}
		}
		return failed == nil && ctx.Err() == nil
	})
	return errors.Join(err, failed, ctx.Err())
}

// nobodys reports whether the first segment of a blob's name is no tenant's that has rows in the cluster.
func (f *fsck) nobodys(ctx context.Context, segment string) (bool, error) {
	t, ok := tenantNamed(segment)
	if !ok {
		return true, nil
	}
	there, err := f.anybody(ctx, t)
	return !there, err
}

// tenantNamed reads a tenant's digest in hexadecimal.
func tenantNamed(text string) (t store.Tenant, ok bool) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(t) {
		return t, false
	}
	t = store.Tenant(b)
	return t, t.String() == text
}
