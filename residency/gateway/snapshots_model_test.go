package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// A drive's contents as the model has them: the first bytes of each of its
// chunks; nothing else is ever written to.
const (
	modelChunks = 3
	modelWindow = 24
)

type contents [modelChunks][modelWindow]byte

// step is one thing that happens to a drive.
type step struct {
	verb  verb
	chunk int
	from  int
	n     int
	value byte
	which int // of several snapshots or streams
	fault storetest.Fault
	nth   int64 // which commit, or deletion of a blob, the fault is of
}

type verb int

const (
	vWrite verb = iota
	vBeginWrite
	vEndWrite
	vBeginRead
	vEndRead
	vSnapshot
	vRestore
	vDeleteSnapshot
	vDeleteDrive
	vCrash
	vWait
	vWaitLong
	vFailBlobs
)

// verbs are drawn from as often as they stand here.
var verbs = []verb{
	vWrite, vWrite, vWrite, vWrite, vBeginWrite, vEndWrite, vBeginRead, vBeginRead, vEndRead, vEndRead,
	vSnapshot, vSnapshot, vRestore, vRestore, vDeleteSnapshot, vDeleteDrive, vCrash, vWait, vWait, vWait, vWaitLong, vFailBlobs,
}

func (v verb) String() string {
	return [...]string{"write", "begin write", "end write", "begin read", "end read", "snapshot", "restore", "delete snapshot",
		"delete drive", "crash", "wait", "wait long", "fail blobs"}[v]
}

var steps = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
	from := rapid.IntRange(0, modelWindow-2).Draw(t, "from")
	s := step{
		verb: rapid.SampledFrom(verbs).Draw(t, "verb"), chunk: rapid.IntRange(0, modelChunks-1).Draw(t, "chunk"),
		from: from, n: rapid.IntRange(1, modelWindow-from).Draw(t, "n"), value: rapid.Byte().Draw(t, "value"), which: rapid.IntRange(0, 3).Draw(t, "which"),
	}
	s.fault = rapid.SampledFrom([]storetest.Fault{
		storetest.FaultNone, storetest.FaultNone, storetest.FaultNone, storetest.FaultFail, storetest.FaultFailPersisted,
	}).Draw(t, "fault")
	s.nth = rapid.Int64Range(1, 3).Draw(t, "nth")
	return s
}), 1, 60)

// TestDrivesFollowTheModel: after any sequence of writes, snapshots, restores,
// deletions, sweeps, crashes and faults, some of them during others, every read gives
// what the model has, and no blob is missing or left over.
func TestDrivesFollowTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		list := steps.Draw(rt, "steps")
		var problem string
		synctest.Test(t, func(t *testing.T) { problem = follow(t, list) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

// failing turns a failure into a panic that follow recovers, so that the
// sequence that caused it can be made shorter.
type failing struct{ testing.TB }

type failure string

func (f failing) Fatal(args ...any)                 { panic(failure(fmt.Sprint(args...))) }
func (f failing) Fatalf(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

// model is what a drive and its snapshots are expected to hold.
type model struct {
	*world
	there     bool
	births    int // which drive of the name it is
	version   uint64
	now       contents
	snapshots map[string]contents
	writes    []*heldWrite
	reads     []*heldRead
}

// heldWrite is a write that has sent its bytes and not ended.
type heldWrite struct {
	step    step
	births  int
	version uint64
	began   time.Time
	crashed bool
	finish  chan struct{}
	ended   chan error
}

// heldRead is a read that stands before its second chunk.
type heldRead struct {
	want    contents
	births  int
	began   time.Time
	crashed bool
	finish  chan struct{}
	ended   chan error
	got     contents
}

func follow(t *testing.T, list []step) (problem string) {
	w := newWorld(failing{t}, func(c *Config) { c.Limits.StreamLifetime = 2 * time.Minute })
	m := &model{world: w, snapshots: make(map[string]contents)}
	at := "at the start"
	stop := w.renewing()
	defer func() {
		for _, h := range m.writes {
			close(h.finish)
		}
		for _, h := range m.reads {
			close(h.finish)
		}
		if f := recover(); f != nil {
			problem = fmt.Sprintf("%s: %v", at, f)
		}
		time.Sleep(time.Minute) // what was held has ended
		stop()
	}()
	w.tenant("alpen", ch)
	m.create()
	for i, s := range list {
		at = fmt.Sprintf("step %d, %v", i, s.verb)
		m.do(s)
		w.mem["ch"].Fail(storetest.OpUpdate, nil)
		m.check()
	}
	at = "at the end"
	m.finish()
	return ""
}

func (m *model) create() {
	m.drive("alpen", "d1", modelChunks*chunkSize)
	m.there, m.version, m.now, m.snapshots = true, 1, contents{}, make(map[string]contents)
	m.births++
}

// do takes one step, with its fault, and settles what came of it.
func (m *model) do(s step) {
	if !m.there && s.verb != vWait && s.verb != vWaitLong {
		m.create()
	}
	fault := func() {
		if s.fault != storetest.FaultNone {
			m.mem["ch"].Fail(storetest.OpUpdate, nth(s.nth, s.fault))
		}
	}
	switch s.verb {
	case vWrite:
		fault()
		_, err := m.write(ch, "alpen", "d1", s.offset(), s.bytes())
		m.settleWrite(s, err)
	case vBeginWrite:
		m.beginWrite(s)
	case vEndWrite:
		if len(m.writes) > 0 {
			fault()
			m.endWrite(s.which % len(m.writes))
		}
	case vBeginRead:
		m.beginRead()
	case vEndRead:
		if len(m.reads) > 0 {
			m.endRead(s.which % len(m.reads))
		}
	case vCrash:
		m.crash()
	case vWait:
		m.wait(time.Duration(1+s.which) * 10 * time.Second)
	case vWaitLong:
		fault() // of a renewal or a sweep
		m.wait(time.Duration(1+s.which) * time.Minute)
	case vFailBlobs:
		m.mem["ch"].Fail(storetest.OpBlobDelete, nth(s.nth, storetest.FaultFailPersisted))
	default:
		fault()
		m.govern(s)
	}
}

func (s *step) offset() int64 { return int64(s.chunk)*chunkSize + int64(s.from) }

func (s *step) bytes() []byte { return slices.Repeat([]byte{s.value}, s.n) }

// wrote gives the contents after a write.
func (s *step) wrote(c contents) contents {
	copy(c[s.chunk][s.from:], s.bytes())
	return c
}

// settleWrite takes a write's outcome into the model: one that failed for want
// of an answer happened or not, and the drive's version says which.
func (m *model) settleWrite(s step, err error) {
	if err != nil && residency.KindOf(err) != residency.AuditUnavailable {
		m.t.Fatalf("a write failed: %v", err)
	}
	if m.versionNow() == m.version+1 {
		m.version, m.now = m.version+1, s.wrote(m.now)
	} else if err == nil {
		m.t.Fatal("an acknowledged write did not count the version up")
	}
}

// versionNow gives the drive's version, without faults; 0 = no drive.
func (m *model) versionNow() uint64 {
	m.mem["ch"].Fail(storetest.OpUpdate, nil)
	d, err := m.g.GetDrive(m.t.Context(), as(ch, "GetDrive", residency.Use, residency.AccountData), "alpen", "d1")
	if err != nil && residency.KindOf(err) != residency.NotFound {
		m.t.Fatal(err)
	}
	return d.Version
}

// list gives the drive's snapshots, without faults.
func (m *model) list() map[string]bool {
	m.mem["ch"].Fail(storetest.OpUpdate, nil)
	found, _, err := m.world.snapshots(ch, "alpen", "d1", Page{})
	m.ok(err)
	out := make(map[string]bool)
	for _, s := range found {
		out[s.ID] = true
	}
	return out
}

// govern takes the steps that are one transaction.
func (m *model) govern(s step) {
	names := slices.Sorted(maps.Keys(m.snapshots))
	var name string
	if len(names) > 0 {
		name = names[s.which%len(names)]
	}
	var err error
	switch s.verb {
	case vSnapshot:
		_, _, err = m.snapshot(ch, SnapshotDrive{Tenant: "alpen", Drive: "d1"})
		m.settleSnapshot(err)
	case vRestore:
		if name == "" {
			return
		}
		_, _, err = m.restore(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: name})
		if m.versionNow() == m.version+1 {
			m.version, m.now = m.version+1, m.snapshots[name]
		} else if err == nil {
			m.t.Fatal("an acknowledged restore did not count the version up")
		}
	case vDeleteSnapshot:
		if name == "" {
			return
		}
		_, err = m.deleteSnapshot(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: name})
		if !m.list()[name] {
			delete(m.snapshots, name)
		} else if err == nil {
			m.t.Fatal("a deleted snapshot is listed")
		}
	case vDeleteDrive:
		err = m.g.DeleteDrive(m.t.Context(), as(ch, "DeleteDrive", residency.Erase, residency.VirtualDriveData), DeleteDrive{Tenant: "alpen", Drive: "d1"})
		if m.there = m.versionNow() != 0; !m.there {
			m.snapshots, m.now = nil, contents{}
		} else if err == nil {
			m.t.Fatal("a deleted drive is there")
		}
	}
	if err != nil && residency.KindOf(err) != residency.AuditUnavailable {
		m.t.Fatalf("%v failed: %v", s.verb, err)
	}
}

func (m *model) settleSnapshot(err error) {
	for id := range m.list() {
		if _, ok := m.snapshots[id]; !ok {
			m.snapshots[id] = m.now
			return
		}
	}
	if err == nil {
		m.t.Fatal("an acknowledged snapshot is not listed")
	}
}

func (m *model) beginWrite(s step) {
	h := &heldWrite{step: s, births: m.births, version: m.version, began: time.Now(), finish: make(chan struct{}), ended: make(chan error, 1)}
	sent := false
	go func() {
		_, err := m.g.WriteDrive(m.t.Context(), as(ch, "WriteDrive", residency.Collect, residency.VirtualDriveData),
			WriteDrive{Tenant: "alpen", Drive: "d1", Offset: s.offset(), Purpose: residency.ServiceProvision}, func() ([]byte, error) {
				if !sent {
					sent = true
					return s.bytes(), nil
				}
				<-h.finish
				return nil, io.EOF
			})
		h.ended <- err
	}()
	synctest.Wait()
	m.writes = append(m.writes, h)
}

// endWrite lets a write end: it is there exactly if nothing changed meanwhile.
func (m *model) endWrite(i int) {
	h := m.writes[i]
	m.writes = slices.Delete(m.writes, i, i+1)
	lived := time.Since(h.began) < m.g.limits.StreamLifetime && !h.crashed
	close(h.finish)
	err := <-h.ended
	same := m.there && h.births == m.births && h.version == m.version
	version := m.versionNow()
	switch {
	case err == nil && !same:
		m.t.Fatal("a write across a change was acknowledged")
	case same && version == m.version+1:
		m.version, m.now = version, h.step.wrote(m.now)
	case err == nil:
		m.t.Fatal("an acknowledged write did not count the version up")
	case lived && same && residency.KindOf(err) != residency.AuditUnavailable:
		m.t.Fatalf("a write that nothing stood against: %v", err)
	case lived && m.there && h.births == m.births && !same && residency.KindOf(err) != residency.VersionMismatch && residency.KindOf(err) != residency.AuditUnavailable:
		m.t.Fatalf("a write across a change: %v", err)
	}
}

func (m *model) beginRead() {
	h := &heldRead{want: m.now, births: m.births, began: time.Now(), finish: make(chan struct{}), ended: make(chan error, 1)}
	go func() {
		h.ended <- m.readAll(m.t.Context(), &h.got, func() { <-h.finish })
	}()
	synctest.Wait()
	m.reads = append(m.reads, h)
}

// readAll reads the whole drive, and pauses before it takes the first piece.
func (m *model) readAll(ctx context.Context, into *contents, pause func()) error {
	at := int64(0)
	return m.g.ReadDrive(ctx, as(ch, "ReadDrive", residency.Use, residency.VirtualDriveData),
		ReadDrive{Tenant: "alpen", Drive: "d1", Purpose: residency.ServiceProvision}, func(b []byte) error {
			if at == 0 && pause != nil {
				pause()
			}
			if in := at % chunkSize; in < modelWindow {
				copy(into[at/chunkSize][in:], b)
			}
			at += int64(len(b))
			return nil
		})
}

// endRead lets a read go on: it gives what was there when it began, or it was cut.
func (m *model) endRead(i int) {
	h := m.reads[i]
	m.reads = slices.Delete(m.reads, i, i+1)
	lived := time.Since(h.began) < m.g.limits.StreamLifetime-time.Second && !h.crashed && m.there && h.births == m.births
	close(h.finish)
	err := <-h.ended
	switch {
	case errors.Is(err, store.ErrNotFound), residency.KindOf(err) == residency.IntegrityFailure:
		m.t.Fatalf("a chunk was missing under a read: %v", err)
	case err == nil && h.got != h.want:
		m.t.Fatalf("a read gave %v, the drive was %v when it began", h.got, h.want)
	case err != nil && lived:
		m.t.Fatalf("a read that nothing stood against: %v", err)
	}
}

// crash makes the gateway forget its streams, as one that died or hangs does:
// nobody renews them any more.
func (m *model) crash() {
	m.g.keeper.mu.Lock()
	clear(m.g.keeper.streams)
	m.g.keeper.mu.Unlock()
	for _, h := range m.writes {
		h.crashed = true
	}
	for _, h := range m.reads {
		h.crashed = true
	}
}

// wait lets time pass, while what is due is swept.
func (m *model) wait(d time.Duration) {
	for until := time.Now().Add(d); time.Now().Before(until); {
		time.Sleep(10 * time.Second)
		m.g.sweepAll(m.t.Context())
	}
}

// check compares the drive with the model.
func (m *model) check() {
	var got contents
	err := m.readAll(m.t.Context(), &got, nil)
	switch {
	case !m.there:
		m.wantKind(err, residency.NotFound)
		return
	case err != nil:
		m.t.Fatalf("the drive cannot be read: %v", err)
	case got != m.now:
		m.t.Fatalf("the drive holds %v, the model %v", got, m.now)
	}
	listed := m.list()
	if !slices.Equal(slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(m.snapshots))) {
		m.t.Fatalf("listed %d snapshots, the model has %d", len(listed), len(m.snapshots))
	}
}

// finish ends what is held, lets everything that is due happen, and counts.
func (m *model) finish() {
	for len(m.writes) > 0 {
		m.endWrite(0)
	}
	for len(m.reads) > 0 {
		m.endRead(0)
	}
	m.mem["ch"].Fail(storetest.OpBlobDelete, nil)
	m.wait(10 * time.Minute)
	if problem := m.unreferred(); problem != "" {
		m.t.Fatal(problem)
	}
	if n := m.rows("ch", "alpen", store.KindStream); n != 0 {
		m.t.Fatalf("%d rows of streams are left", n)
	}
	m.check()
	for name, want := range m.snapshots {
		_, _, err := m.restore(ch, SnapshotCall{Tenant: "alpen", Drive: "d1", Snapshot: name})
		m.ok(err)
		m.now = want
		m.check()
	}
	if m.there {
		m.deleteDrive("alpen", "d1")
	}
	m.wait(10 * time.Minute)
	for _, kind := range []store.Kind{store.KindDrive, store.KindExtent, store.KindSnapshot, store.KindHold} {
		if n := m.rows("ch", "alpen", kind); n != 0 {
			m.t.Fatalf("%d rows of kind %d are left of a deleted drive", n, kind)
		}
	}
	if n := m.blobs("ch"); n != 0 {
		m.t.Fatalf("%d blobs are left of a deleted drive", n)
	}
}
