package gateway

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// stream is a call that goes on after its decision: its intent is in the log
// before its first byte, its lease is looked at before every byte after that,
// and its outcome is in the log at the end, whoever has to write it.
type stream struct {
	g      *Gateway
	op     string
	call   *Call
	id     uuid.UUID // of the decision
	home   home
	tk     *seal.TenantKeys
	permit seal.Permit
	intent audit.Entry
	act    *act
	drive  store.ID
	self   store.ID // the drive's incarnation; "" when the stream is about no drive

	decision residency.Decision
	consents []relied
	bytes    atomic.Uint64
	until    atomic.Int64                       // when the lease lapses, by the gateway's elapsed clock
	cutBy    atomic.Pointer[residency.Decision] // why the stream may not go on: nil, or a refusal
	renewed  chan struct{}                      // holds a token when the lease was renewed or cut
	ended    chan struct{}                      // closed when it was cut

	// Of a stream that a peer forwarded, under the keeper's lock:
	over  bool          // it has ended here
	asked time.Duration // when the peer last asked for its lease
}

// The life of a stream's row: renewals keep it fresh; one that is not fresh
// any more belonged to a gateway that died, and is closed by whichever finds it.
const (
	streamCheck = time.Minute      // when the agenda first looks
	streamStale = 30 * time.Second // how old a renewal may be
)

func (g *Gateway) newStream(op string, call *Call) *stream {
	return &stream{g: g, op: op, call: call, renewed: make(chan struct{}, 1), ended: make(chan struct{})}
}

// open writes the stream's row, within the transaction of its decision.
func (s *stream) open(t *txn, intent *audit.Entry) error {
	id, err := uuid.Parse(t.decision.ID)
	if err != nil {
		return err
	}
	s.id, s.home, s.tk, s.permit, s.intent = id, t.home, t.tk, t.permit, *intent
	s.act, s.decision, s.consents, s.drive = t.a, t.decision, t.consents, t.drive
	s.intent.Place = 1 // its place is not settled yet; the entry that closes it gets its own
	row := streamRow{Intent: s.intent.Append(nil), Renewed: t.now, Check: t.now.Add(streamCheck)}
	if err := t.Put(store.KindStream, s.row(), row.encode()); err != nil {
		return err
	}
	return t.Schedule(s.task(row.Check))
}

func (s *stream) row() store.ID { return newestFirst(s.id) }

// streamLock is the lock on a stream's row: renewing, ending and closing it exclude
// one another.
func streamLock(row store.ID) store.Lock { return store.Lock{Object: row, Exclusive: true} }

func (s *stream) task(at time.Time) store.Task {
	return store.Task{At: at, Tenant: s.home.tenant, Kind: store.TaskCloseStream, ID: s.row()}
}

// check returns nil while the stream may go on: its lease has not lapsed and
// nothing has cut it. It waits for a renewal that is late, no longer than a
// decision may take. It is called before every send and every receive.
func (s *stream) check(ctx context.Context) error {
	if s.call.Sent != nil {
		if err := s.call.Sent(s.ended); err != nil {
			return err
		}
	}
	if s.cutBy.Load() == nil && int64(s.g.elapsed()) < s.until.Load() {
		return ctx.Err()
	}
	late := time.NewTimer(s.g.limits.Decide)
	defer late.Stop()
	for {
		if d := s.cutBy.Load(); d != nil {
			return &residency.Error{Op: s.op, Kind: d.Reason, Err: errors.New("the stream was cut"), Decision: d}
		}
		if int64(s.g.elapsed()) < s.until.Load() {
			return ctx.Err()
		}
		select {
		case <-s.renewed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late.C:
			return &residency.Error{
				Op: s.op, Kind: residency.AuditUnavailable, Err: errors.New("the stream's lease could not be renewed"), Decision: &s.decision,
			}
		}
	}
}

// renew extends the lease; a time in the past does nothing.
func (s *stream) renew(until time.Duration) {
	for {
		old := s.until.Load()
		if int64(until) <= old || s.until.CompareAndSwap(old, int64(until)) {
			break
		}
	}
	s.wake()
}

// cut ends the stream at its next check. The first reason stands.
func (s *stream) cut(kind residency.Kind) {
	d := s.decision
	d.Allow, d.Reason = false, kind
	switch kind {
	case residency.ConsentIsWithdrawn, residency.ConsentIsExpired, residency.ConsentIsSuperseded:
		d.Missing = residency.Set(residency.RequireConsent)
	}
	s.refuse(&d)
}

// refuse is cut by a refusal.
func (s *stream) refuse(d *residency.Decision) {
	if s.cutBy.CompareAndSwap(nil, d) {
		close(s.ended)
		s.g.metrics.streamsCut.WithLabelValues(d.Reason.String()).Inc()
	}
	s.wake()
}

func (s *stream) wake() {
	select {
	case s.renewed <- struct{}{}:
	default:
	}
}

// end writes the stream's outcome, and whatever commit adds, in one transaction.
// It works even when the call's context is gone. scope locks what commit needs.
func (s *stream) end(ctx context.Context, how audit.StreamEnd, result residency.Kind, objects []store.Lock, commit func(*txn) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.g.limits.Decide)
	defer cancel()
	var t *txn
	var failed error
	objects = append(objects, streamLock(s.row()))
	err := s.home.cluster.Rows.Update(ctx, store.Scope{Tenant: s.home.tenant, Objects: objects}, func(tx store.Tx) error {
		t = s.txn(ctx, tx)
		failed = t.finish(s, how, result, commit)
		return failed
	})
	if failed != nil {
		return residency.E(s.op, residency.RegionUnavailable, failed)
	}
	if err != nil {
		s.g.metrics.auditFailures.WithLabelValues(string(s.home.region.Name)).Inc()
		return residency.E(s.op, residency.AuditUnavailable, err)
	}
	for _, f := range t.after {
		f(ctx)
	}
	s.g.metrics.streamed(s)
	return nil
}

// txn gives a transaction on the stream's behalf.
func (s *stream) txn(ctx context.Context, tx store.Tx) *txn {
	return &txn{
		Tx: tx, ctx: ctx, g: s.g, a: &act{call: s.call, op: s.op, tenant: "?"},
		home: s.home, now: tx.Now(), tk: s.tk, permit: s.permit,
	}
}

// finish appends the outcome and removes the stream's row. A stream that
// another gateway has closed meanwhile, since its renewals stopped, can commit nothing.
func (t *txn) finish(s *stream, how audit.StreamEnd, result residency.Kind, commit func(*txn) error) error {
	b, err := t.Get(store.KindStream, s.row())
	if errors.Is(err, store.ErrNotFound) {
		return residency.E(s.op, residency.AuditUnavailable, errors.New("the stream was closed already, or as abandoned"))
	}
	if err != nil {
		return err
	}
	row, err := decodeStream(b)
	if err != nil {
		return residency.E(s.op, residency.IntegrityFailure, err)
	}
	if commit != nil {
		if err := commit(t); err != nil {
			return err
		}
	}
	e := s.intent
	e.Phase, e.Time, e.End, e.Result, e.Bytes = audit.Ended, t.now, how, result, s.bytes.Load()
	return t.close(s.row(), s.task(row.Check), &e)
}

// close removes a stream's row and task and appends its last entry.
func (t *txn) close(row store.ID, task store.Task, e *audit.Entry) error {
	if err := t.Delete(store.KindStream, row); err != nil {
		return err
	}
	if err := t.Unschedule(task); err != nil {
		return err
	}
	return t.append(row, e)
}

// keeper renews the leases of all streams of this gateway, in one transaction
// per tenant, and cuts those that may not go on.
type keeper struct {
	g       *Gateway
	mu      sync.Mutex
	streams map[*stream]struct{}

	forwarded map[string]*stream // those that a peer forwarded, by decision; also some that have ended
}

func (k *keeper) add(s *stream) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.streams[s] = struct{}{}
}

func (k *keeper) remove(s *stream) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.streams, s)
	k.ended(s)
}

// cut ends every stream here that rests on a consent. It is an optimisation:
// without it the streams would end when their leases do.
func (k *keeper) cut(consentID string, kind residency.Kind) {
	k.cutWhere(kind, func(s *stream) bool {
		return slices.ContainsFunc(s.consents, func(c relied) bool { return c.id == consentID })
	})
}

// partition is one tenant's rows in one cluster.
type partition struct {
	rows   store.Rows
	tenant store.Tenant
}

func (k *keeper) partitions(rows store.Rows) map[partition][]*stream {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make(map[partition][]*stream)
	for s := range k.streams {
		if s.home.cluster.Rows == rows {
			p := partition{rows, s.home.tenant}
			out[p] = append(out[p], s)
		}
	}
	return out
}

// maxRenewals is how many tenants' leases are renewed at the same time.
const maxRenewals = 32

// renewIn renews every lease in one cluster once. A renewal that fails is tried
// again at the next pass; the lease lapses meanwhile, which stops the stream.
// Clusters are renewed apart, so that none waits for another that hangs.
func (k *keeper) renewIn(ctx context.Context, rows store.Rows) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxRenewals)
	all := func(partitions map[partition][]*stream, renew func(context.Context, partition, []*stream) error) {
		for p, streams := range partitions {
			for some := range slices.Chunk(streams, maxLocks) {
				slots <- struct{}{}
				wg.Go(func() {
					defer func() { <-slots }()
					if err := renew(ctx, p, some); err != nil && ctx.Err() == nil {
						k.g.log.Warn("leases not renewed", "streams", len(some), "err", err)
					}
				})
			}
		}
	}
	all(k.partitions(rows), k.renew)
	all(k.passing(rows), k.renewPassing)
	wg.Wait()
}

// maxLocks is how many objects one transaction locks (store.Scope).
const maxLocks = 64

// cutWhere ends every stream here that a condition holds of, as cut does.
func (k *keeper) cutWhere(kind residency.Kind, holds func(*stream) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for s := range k.streams {
		if holds(s) {
			s.cut(kind)
		}
	}
	for _, s := range k.forwarded {
		if s.over && holds(s) {
			s.cut(kind)
		}
	}
}

// verdict is what one renewal found about one stream.
type verdict struct {
	cut    residency.Kind      // OK = it may go on
	denied *residency.Decision // why not, when the policy says so
	lease  time.Duration
}

// renew looks again at everything that the streams of one tenant rest on. The
// lease's time is taken before the look.
func (k *keeper) renew(ctx context.Context, p partition, streams []*stream) error {
	ctx, cancel := context.WithTimeout(ctx, k.g.limits.Decide)
	defer cancel()
	began := k.g.elapsed()
	verdicts := make([]verdict, len(streams))
	scope := store.Scope{Tenant: p.tenant}
	for _, s := range streams {
		scope.Objects = append(scope.Objects, streamLock(s.row()))
	}
	err := p.rows.Update(ctx, scope, func(tx store.Tx) error {
		for i, s := range streams {
			var err error
			if verdicts[i], err = s.again(ctx, tx).look(s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, s := range streams {
		s.take(began, verdicts[i])
	}
	return nil
}

// again gives a transaction in which the stream's act is judged anew.
func (s *stream) again(ctx context.Context, tx store.Tx) *txn {
	t := &txn{ctx: ctx, g: s.g, a: s.act, home: s.home}
	t.begin(tx)
	return t
}

// look judges a stream's act again by the policy, consents and whatever else is
// in force now, and notes how far the stream has come. A consent that the decision
// named must still hold, even when another one would do.
func (t *txn) look(s *stream) (verdict, error) {
	b, err := t.Get(store.KindStream, s.row())
	if errors.Is(err, store.ErrNotFound) {
		return verdict{cut: residency.AuditUnavailable}, nil
	}
	if err != nil {
		return verdict{}, err
	}
	row, damage := decodeStream(b)
	if damage != nil {
		return verdict{cut: residency.IntegrityFailure}, nil //nolint:nilerr // it is this stream's verdict, not the renewal's failure
	}
	v, err := t.judgeAgain(s)
	if err != nil || v.cut != residency.OK || v.denied != nil {
		return v, err
	}
	row.Bytes, row.Renewed = s.bytes.Load(), t.now
	return v, t.Put(store.KindStream, s.row(), row.encode())
}

func (t *txn) lookAgain(s *stream) (verdict, error) {
	if err := t.keys(t.ctx); err != nil {
		return verdict{}, err
	}
	if t.tk == nil && t.a.tenant != "" { // erased
		return verdict{cut: residency.NotFound}, nil
	}
	lease, cut, err := t.lookAtConsents(s)
	if cut != residency.OK || err != nil {
		return verdict{cut: cut}, err
	}
	if err := t.judge(); err != nil {
		return verdict{}, err
	}
	if !t.decision.Allow {
		d := t.decision
		d.ID, d.Time = s.decision.ID, s.decision.Time
		return verdict{denied: &d}, nil
	}
	if err := t.tenantProblem(); err != nil {
		return verdict{cut: residency.KindOf(err)}, nil
	}
	if cut, err := t.lookAtObject(s); cut != residency.OK || err != nil {
		return verdict{cut: cut}, err
	}
	return verdict{lease: min(lease, t.lease())}, nil
}

// lookAtConsents says for how long the consents that the stream rests on hold.
func (t *txn) lookAtConsents(s *stream) (lease time.Duration, cut residency.Kind, err error) {
	lease = t.g.limits.Lease
	for _, r := range s.consents {
		c, _, err := t.readConsent(r.id)
		if err != nil {
			return 0, residency.OK, err
		}
		if state := c.State(t.now); state != residency.ConsentActive {
			return 0, cutReason(state), nil
		}
		lease = min(lease, c.Expires.Sub(t.now))
	}
	return lease, residency.OK, nil
}

// lookAtObject checks that what the stream is about, and its key, are still there.
func (t *txn) lookAtObject(s *stream) (cut residency.Kind, err error) {
	if s.self != "" {
		return t.lookAtDrive(s)
	}
	if t.subject == "" {
		return residency.OK, nil
	}
	sk, err := t.subjectKeys(t.ctx)
	if sk == nil && err == nil {
		return residency.NotFound, nil
	}
	return residency.OK, err
}

// lookAtDrive checks that a stream's drive is still the one that it began with, and that
// the keys that it holds are still to be had.
func (t *txn) lookAtDrive(s *stream) (cut residency.Kind, err error) {
	row, _, err := t.readDrive()
	switch {
	case residency.KindOf(err) == residency.NotFound || err == nil && row.Self != s.self:
		return residency.NotFound, nil
	case err != nil:
		return residency.OK, err
	}
	_, err = t.driveKeys(s.self)
	if residency.KindOf(err) == residency.NotFound {
		return residency.NotFound, nil
	}
	return residency.OK, err
}

func cutReason(state residency.ConsentState) residency.Kind {
	switch state {
	case residency.ConsentWithdrawn:
		return residency.ConsentIsWithdrawn
	case residency.ConsentExpired:
		return residency.ConsentIsExpired
	}
	return residency.ConsentIsSuperseded
}
