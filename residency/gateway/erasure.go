package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// erasureRow is an erasure. It lies in clear, since it outlives every key that
// could seal it, and names nobody: not even by a pseudonym.
type erasureRow struct {
	ID            string // the decision's
	Kind          ErasureKind
	State         ErasureState
	Created       time.Time
	Finished      time.Time
	Rows, Blobs   uint64
	Clause        string
	PolicyVersion string
	Controller    string
	Request       []byte // a keyed digest of the request_id that began it; nil when there was none
}

func (r *erasureRow) layout(f *fields) {
	f.text(1, &r.ID)
	number(f, 2, &r.Kind)
	number(f, 3, &r.State)
	f.time(4, &r.Created)
	f.time(5, &r.Finished)
	f.uint(6, &r.Rows)
	f.uint(7, &r.Blobs)
	f.text(8, &r.Clause)
	f.text(9, &r.PolicyVersion)
	f.text(10, &r.Controller)
	f.bytes(11, &r.Request)
}

// note is what the erasure ledger keeps of an erasure: enough to write its row
// again beside rows that a backup brought back.
func (r *erasureRow) note() []byte {
	n := *r
	n.State, n.Finished, n.Rows, n.Blobs = ErasurePending, time.Time{}, 0, 0
	return encodeRow(&n)
}

func (r *erasureRow) public(tenant string) Erasure {
	return Erasure{
		ID: r.ID, Tenant: tenant, Kind: r.Kind, State: r.State, Created: r.Created, Finished: r.Finished,
		Rows: r.Rows, Blobs: r.Blobs, Clause: r.Clause, PolicyVersion: r.PolicyVersion, Controller: r.Controller,
	}
}

// erasureMark is the row that says that a subject was erased: written with the
// decision, it binds every gateway from that commit on, whatever keys one still
// has in memory, and is never removed while the tenant exists.
func erasureMark(subject store.ID) store.ID { return subject + "\x00" }

// marked reads the erasure that a subject's mark names; "" = they were not erased.
func (t *txn) marked(subject store.ID) (erasure store.ID, err error) {
	b, err := t.Get(store.KindErasure, erasureMark(subject))
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return store.ID(b), err
}

// gone reports whether a subject without a key was erased; else nobody of that
// name was ever known, or the key is missing. Rows that a backup brought back have no mark,
// but the ledger has their subject.
func (t *txn) gone(subject store.ID) (bool, error) {
	if mark, err := t.marked(subject); mark != "" || err != nil {
		return mark != "", err
	}
	_, ok, err := t.home.region.Vault.Erased(t.ctx, t.home.tenant, subject)
	if err != nil {
		return false, residency.E(t.a.op, residency.KeysUnavailable, err)
	}
	return ok, nil
}

// keyless says why a subject of whom there are rows has no key: NOT_FOUND when
// they were erased and the rows wait for the sweep.
func (t *txn) keyless(subject store.ID) error {
	gone, err := t.gone(subject)
	switch {
	case err != nil:
		return err
	case gone:
		return residency.E(t.a.op, residency.NotFound, nil)
	}
	return residency.E(t.a.op, residency.IntegrityFailure, errors.New("a subject has rows but no key"))
}

func readErasure(tx store.Tx, id store.ID) (row erasureRow, err error) {
	b, err := tx.Get(store.KindErasure, id)
	if err != nil {
		return row, err
	}
	if err := decodeRow(b, &row); err != nil {
		return row, residency.E("gateway.readErasure", residency.IntegrityFailure, err)
	}
	return row, nil
}

func putErasure(tx store.Tx, id store.ID, row *erasureRow) error {
	return tx.Put(store.KindErasure, id, encodeRow(row))
}

// beginErasure puts an erasure on record, in the transaction that decides it:
// its row, a person's mark, and the task that carries it out.
func (t *txn) beginErasure(kind ErasureKind, clause, requestID string) (erasureRow, error) {
	row := erasureRow{
		ID: t.decision.ID, Kind: kind, State: ErasurePending, Created: t.now, Clause: clause,
		PolicyVersion: t.policy.Version, Controller: t.policy.Controller, Request: t.erasureRequest(requestID),
	}
	id, ok := rowOf(row.ID)
	if !ok {
		return row, residency.E(t.a.op, residency.Internal, errors.New("a decision has no identifier"))
	}
	task := store.Task{At: t.now, Tenant: t.home.tenant, Kind: store.TaskEraseTenant, Value: []byte(id)}
	if kind == ErasureOfSubject {
		task.Kind, task.ID = store.TaskEraseSubject, t.subject
		if err := t.Put(store.KindErasure, erasureMark(t.subject), []byte(id)); err != nil {
			return row, err
		}
	}
	t.erases = kind
	t.later(func(context.Context) { t.cutErased(kind) })
	return row, errors.Join(putErasure(t.Tx, id, &row), t.Schedule(task))
}

// cutErased ends the live streams about whom was erased.
func (t *txn) cutErased(kind ErasureKind) {
	t.g.keeper.cutWhere(residency.NotFound, func(s *stream) bool {
		return s.home.tenant == t.home.tenant && (kind == ErasureOfTenant || s.act.subject == t.a.subject)
	})
}

// erasureRequest is a digest of a caller's request_id that outlives the tenant's
// keys: the repeated call finds its erasure by it. "" gives nil.
func (t *txn) erasureRequest(requestID string) []byte {
	if requestID == "" {
		return nil
	}
	mac := hmac.New(sha256.New, t.g.cfg.DirectoryKey)
	for _, s := range []string{"erasure", t.home.tenant.String(), t.a.call.Caller.ID, t.a.call.Method, strings.ToLower(requestID)} {
		mac.Write([]byte(s))
		mac.Write([]byte{0})
	}
	return mac.Sum(nil)[:idSize]
}

// asksAgain reports whether a call asks again for an erasure that was begun: by
// the same request_id, or while its keys could not be destroyed yet.
func (t *txn) asksAgain(row *erasureRow, requestID string) bool {
	if row.State == ErasurePending {
		return true
	}
	return requestID != "" && hmac.Equal(row.Request, t.erasureRequest(requestID))
}

// EraseSubject destroys everything that is held about a person (clause
// stop-holding). When it returns nil their key is destroyed and the erasure
// ledger has them; the rows are swept after.
func (g *Gateway) EraseSubject(ctx context.Context, call *Call, req SubjectCall) (Erasure, error) {
	a := &act{
		call: call, op: "gateway.EraseSubject", tenant: req.Tenant, subject: req.Subject,
		exclusive: true, suspended: true, consentPurpose: residency.Records,
	}
	var row erasureRow
	t, err := g.decide(ctx, a, func(t *txn) error {
		var err error
		row, err = t.eraseSubject(req)
		return err
	})
	if err != nil {
		return Erasure{}, err
	}
	return g.destroyed(ctx, t, &row)
}

func (t *txn) eraseSubject(req SubjectCall) (erasureRow, error) {
	digest := func() store.ID { return t.tk.ID("erase-subject", req.Subject) }
	if _, err := t.replay(req.RequestID, digest, func([]byte) {}); err != nil {
		return erasureRow{}, err
	}
	mark, err := t.marked(t.subject)
	if err != nil {
		return erasureRow{}, err
	}
	if mark != "" {
		return t.begun(mark, req.RequestID)
	}
	if t.sk == nil {
		return erasureRow{}, residency.E(t.a.op, residency.NotFound, nil)
	}
	if err := t.remember(req.RequestID, nil); err != nil {
		return erasureRow{}, err
	}
	return t.beginErasure(ErasureOfSubject, t.decision.Clause, req.RequestID)
}

// begun gives an erasure that a call asks for again; to any other there is no such person.
func (t *txn) begun(erasure store.ID, requestID string) (erasureRow, error) {
	row, err := readErasure(t.Tx, erasure)
	if err == nil && !t.asksAgain(&row, requestID) {
		err = residency.E(t.a.op, residency.NotFound, nil)
	}
	return row, err
}

// EraseTenant destroys everything that is held for a tenant (clause
// stop-holding), as EraseSubject does about a person. Its identifier is never given out again.
func (g *Gateway) EraseTenant(ctx context.Context, call *Call, req ChangeTenant) (Erasure, error) {
	a := &act{
		call: call, op: "gateway.EraseTenant", tenant: req.Tenant,
		governs: true, erased: true, consentPurpose: residency.Records,
	}
	var row erasureRow
	t, err := g.decide(ctx, a, func(t *txn) error {
		var err error
		row, err = t.eraseTenant(req)
		return err
	})
	if err != nil {
		return Erasure{}, err
	}
	return g.destroyed(ctx, t, &row)
}

func (t *txn) eraseTenant(req ChangeTenant) (erasureRow, error) {
	switch {
	case !t.exists || t.row.State == TenantErasing:
		return t.erasingTenant(req.RequestID)
	case t.row.State != TenantActive && t.row.State != TenantSuspended:
		return erasureRow{}, residency.E(t.a.op, residency.TenantRelocating, nil)
	}
	digest := func() store.ID { return t.tk.ID("erase-tenant") }
	if _, err := t.replay(req.RequestID, digest, func([]byte) {}); err != nil {
		return erasureRow{}, err
	}
	t.row.State = TenantErasing
	if err := t.putTenant(t.version + 1); err != nil {
		return erasureRow{}, err
	}
	return t.beginErasure(ErasureOfTenant, t.decision.Clause, req.RequestID)
}

// erasingTenant finds the erasure of a tenant that is being erased, or was, for
// a call that asks for it again; to any other there is no such tenant.
func (t *txn) erasingTenant(requestID string) (erasureRow, error) {
	const newest = 64 // the tenant's own erasure is the last one that was begun, save for clocks that differ
	var row erasureRow
	found, looked := false, 0
	var failed error
	err := t.Scan(store.KindErasure, "", "", func(_ store.ID, b []byte) bool {
		var r erasureRow
		if decodeRow(b, &r) == nil && r.Kind == ErasureOfTenant && t.asksAgain(&r, requestID) {
			row, found = r, true
		}
		looked++
		failed = t.ctx.Err()
		return !found && looked < newest && failed == nil
	})
	switch {
	case err != nil || failed != nil:
		return row, errors.Join(err, failed)
	case !found:
		return row, residency.E(t.a.op, residency.NotFound, nil)
	}
	return row, nil
}

// destroyed destroys the keys of whom an erasure is about, after its decision is
// durable and before it is answered. When that fails the task on the agenda does it again.
func (g *Gateway) destroyed(ctx context.Context, t *txn, row *erasureRow) (Erasure, error) {
	defer g.kick(t.home.cluster)
	if row.State != ErasurePending {
		return row.public(t.a.tenant), nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.limits.Decide)
	defer cancel()
	subject := t.subject
	if row.Kind == ErasureOfTenant {
		subject = ""
	}
	if err := t.home.region.destroyKeys(ctx, t.home.tenant, subject, row); err != nil {
		g.log.Warn("keys of an erasure not destroyed yet", "region", string(t.home.region.Name), "decision", row.ID, "err", err)
		return Erasure{}, &residency.Error{Op: t.a.op, Kind: residency.KeysUnavailable, Err: err, Decision: &t.decision}
	}
	row.State = ErasureSweeping
	if err := g.noteDestroyed(ctx, t.home, row.ID); err != nil { // the sweep will
		g.log.Warn("an erasure's state not recorded yet", "region", string(t.home.region.Name), "decision", row.ID, "err", err)
	}
	return row.public(t.a.tenant), nil
}

// destroyKeys enters a subject, or with "" the tenant, in the erasure ledger and
// destroys their keys.
func (r *Region) destroyKeys(ctx context.Context, tenant store.Tenant, subject store.ID, row *erasureRow) error {
	if row.Kind == ErasureOfTenant {
		return r.Vault.EraseTenant(ctx, tenant, row.note())
	}
	return r.Vault.EraseSubject(ctx, tenant, subject, row.note())
}

// noteDestroyed records that the keys of an erasure are destroyed.
func (g *Gateway) noteDestroyed(ctx context.Context, h home, erasure string) error {
	id, _ := rowOf(erasure)
	return h.cluster.Rows.Update(ctx, store.Scope{Tenant: h.tenant, Objects: []store.Lock{{Object: id, Exclusive: true}}}, func(tx store.Tx) error {
		row, err := readErasure(tx, id)
		if err != nil || row.State != ErasurePending {
			return err
		}
		row.State = ErasureSweeping
		return putErasure(tx, id, &row)
	})
}

// GetErasure gives an erasure, also when the tenant is gone with its keys.
func (g *Gateway) GetErasure(ctx context.Context, call *Call, tenant, erasure string) (Erasure, error) {
	a := &act{call: call, op: "gateway.GetErasure", tenant: tenant, erased: true}
	var row erasureRow
	_, err := g.decide(ctx, a, func(t *txn) error {
		id, ok := rowOf(erasure)
		if !ok {
			return residency.E(a.op, residency.NotFound, nil)
		}
		var err error
		row, err = readErasure(t.Tx, id)
		if errors.Is(err, store.ErrNotFound) {
			return residency.E(a.op, residency.NotFound, nil)
		}
		return err
	})
	if err != nil {
		return Erasure{}, err
	}
	return row.public(tenant), nil
}
