package gateway

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// act is one access on its way to a decision: what it touches, what it locks,
// and which way its answer goes.
type act struct {
	call    *Call
	op      string // for errors, for example "gateway.GetRecord"
	tenant  string // "" = the act is about a region, not a tenant
	region  *Region
	subject string
	drive   string

	class   residency.DataClass // unspecified = the call's
	purpose residency.Purpose
	source  residency.Source

	// recipient is whom a disclosure is for, as far as the request alone tells; prepare finds out.
	recipient residency.RecipientKind

	exclusive bool // lock the subject or drive exclusively
	governs   bool // lock the tenant exclusively

	// inbound says that data comes home and the answer tells nothing of what is
	// there; else the answer goes to the caller and is a use of what it tells.
	inbound bool
	// answers says of an inbound act that its answer does tell what was there,
	// so that the answer must be allowed to cross too.
	answers bool
	// to is where else data would go: a transfer's target. Zero = nowhere.
	to residency.Jurisdiction
	// consentPurpose is the purpose that a border consent must cover where the
	// act itself has none. Zero = the act's purpose.
	consentPurpose residency.Purpose

	// suspended says that the act protects people, looks at what was decided and recorded, obeys an
	// order or ends a suspension: it goes on while the tenant is suspended. erased says that it needs no tenant at all.
	suspended, erased bool
	// clause is what a permitted act cites, in place of the clause of the rule that permits it; "" = that.
	clause string

	// The hooks below of an act that opens a stream run again whenever its lease is
	// renewed, beside the stream: they must not write what the stream or its body uses.

	// ahead lists further rows that the act will read; nil = none. See store.Scope.
	ahead func(t *txn) []store.Row
	// prepare looks up what the requirements depend on, once the border and the
	// tenant are decided: a disclosure's recipient. Nil = nothing.
	prepare func(t *txn) error
	// fact finds what only the act knows about a requirement; ok is false for
	// requirements that it leaves to the gateway.
	fact func(t *txn, r residency.Requirement) (f policy.Finding, ok bool, err error)
	// refuse is the act's own last word, after every requirement is met; nil or a
	// nil return = permitted.
	refuse func(t *txn) (*refusal, error)
	// denied does, within the transaction, what a refusal sets off; nil = nothing.
	denied func(t *txn) error
	// stream, if set, is the stream that the act opens.
	stream *stream
	// page, if set, stands for what the act answers in pieces without opening a stream: a peer that passes them on asks for
	// its lease.
	page *stream
}

// txn is the transaction in which an act is decided and carried out.
type txn struct {
	store.Tx
	ctx  context.Context // of the transaction; it ends with it
	g    *Gateway
	a    *act
	home home
	now  time.Time

	tk        *seal.TenantKeys  // nil: the tenant is absent
	sk        *seal.SubjectKeys // nil: the subject is unknown or not looked at yet
	subject   store.ID          // "" = the act is about no subject
	drive     store.ID
	object    store.ID          // the record that the act is about; "" = none, or not looked at
	request   store.ID          // the digest of the request, when it has a request_id
	whole     []consent.Consent // the whole tenant's consents, once they are read
	wholeRead bool
	work      int // how many rows were looked at

	recipient   residency.RecipientKind // of a disclosure
	recipientID string                  // whom a border consent must name and the log names; "" until it is looked up
	target      residency.Jurisdiction  // where else data would go; zero = nowhere
	grounds     grounds                 // what a disclosure's requirements were looked up in
	row         tenantRow
	version     uint64      // of the tenant's row
	exists      bool        // the tenant's row is there
	erases      ErasureKind // the erasure that the act begins; another entry will say when it is done

	policy   *policy.Policy
	decision residency.Decision
	permit   seal.Permit
	consents []relied                // the consents that the decision rests on
	bytes    uint64                  // of personal information or drive data that the answer carries
	after    []func(context.Context) // run once, when the transaction is durable
}

// relied is a consent that a decision rests on.
type relied struct {
	id    string
	until time.Time
}

// decide finds the tenant's home and, in one transaction there, reads the facts, decides,
// carries the act out when it is allowed, and appends the audit entry. When it
// returns, the entry is durable and the call's Decision is set; or nothing was
// done and the error is one that says so (AUDIT_UNAVAILABLE and its kin).
//
// body runs with the permit. An error of its own that concerns the object
// (NOT_FOUND, VERSION_MISMATCH …) becomes the entry's result and decide's error;
// body must not have written anything then. body may run more than once.
func (g *Gateway) decide(ctx context.Context, a *act, body func(*txn) error) (*txn, error) {
	if !g.denials.take(a.call.Caller.ID) {
		return nil, residency.E(a.op, residency.Overloaded, errors.New("too many refused calls"))
	}
	refused := false
	defer func() {
		if !refused {
			g.denials.giveBack(a.call.Caller.ID)
		}
	}()
	h, err := g.homeOf(ctx, a)
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, residency.E(a.op, residency.Internal, err)
	}
	ctx, cancel := context.WithTimeout(ctx, g.limits.Decide)
	defer cancel()

	t := &txn{g: g, a: a, home: h}
	if err := t.keys(ctx); err != nil {
		return nil, err
	}
	t.ctx = ctx
	began, start := g.elapsed(), time.Now()
	var answer, failed error
	err = h.cluster.Rows.Update(ctx, t.scope(), func(tx store.Tx) error {
		answer, failed = t.run(tx, id, body)
		return failed
	})
	g.metrics.took(ctx, time.Since(start))
	if err != nil {
		return nil, g.undecided(ctx, a, h, failed, err)
	}
	refused = !t.decision.Allow
	return t, t.conclude(ctx, began, answer)
}

// homeOf finds where the act is decided.
func (g *Gateway) homeOf(ctx context.Context, a *act) (home, error) {
	if a.tenant == "" {
		return home{region: a.region, cluster: &a.region.Clusters[0]}, nil // the first keeps the log of what is about none of them
	}
	if a.region != nil { // a registration: the home is yet to be
		return g.homeToBe(ctx, a)
	}
	return g.locate(ctx, a.tenant, a.call.Caller.Jurisdiction)
}

// keys fetches the tenant's keys; an absent tenant has none, which is found out
// in the same way. Nothing is asked about a subject before the border is decided.
func (t *txn) keys(ctx context.Context) error {
	if t.a.tenant == "" {
		return nil
	}
	tk, err := t.home.region.Vault.Tenant(ctx, t.home.tenant)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return residency.E(t.a.op, residency.KeysUnavailable, err)
	}
	t.hold(tk)
	return nil
}

// subjectKeys gives the keys of the act's subject, or nil when nobody of that
// name is known.
func (t *txn) subjectKeys(ctx context.Context) (*seal.SubjectKeys, error) {
	if t.sk != nil || t.tk == nil {
		return t.sk, nil
	}
	sk, err := t.keysOf(ctx, t.subject)
	t.sk = sk
	return sk, err
}

// keysOf gives a subject's keys, or nil when there are none. An erased subject
// has none, even where this process still holds them.
func (t *txn) keysOf(ctx context.Context, subject store.ID) (*seal.SubjectKeys, error) {
	if mark, err := t.marked(subject); mark != "" || err != nil {
		return nil, err
	}
	sk, err := t.home.region.Vault.Subject(ctx, t.tk, subject)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, residency.E(t.a.op, residency.KeysUnavailable, err)
	}
	return sk, nil
}

// createSubject gives the keys of the act's subject, made if there are none; for
// an erased subject that is ERASED.
func (t *txn) createSubject(ctx context.Context) (*seal.SubjectKeys, error) {
	if t.sk != nil {
		return t.sk, nil
	}
	if mark, err := t.marked(t.subject); mark != "" || err != nil {
		if err == nil {
			err = residency.E(t.a.op, residency.Erased, nil)
		}
		return nil, err
	}
	sk, err := t.home.region.Vault.CreateSubject(ctx, t.tk, t.subject)
	if err != nil {
		return nil, residency.E(t.a.op, residency.KeysUnavailable, err)
	}
	t.sk = sk
	return sk, nil
}

// hold takes the tenant's keys into use.
func (t *txn) hold(tk *seal.TenantKeys) {
	t.tk = tk
	if t.a.subject != "" {
		t.subject = tk.ID("subject", t.a.subject)
	}
	if t.a.drive != "" {
		t.drive = tk.ID("drive", t.a.drive)
	}
}

func (t *txn) scope() store.Scope {
	s := store.Scope{Tenant: t.home.tenant, Exclusive: t.a.governs}
	if t.subject != "" {
		s.Objects = append(s.Objects, store.Lock{Object: t.subject, Exclusive: t.a.exclusive})
	}
	if t.drive != "" {
		s.Objects = append(s.Objects, store.Lock{Object: t.drive, Exclusive: t.a.exclusive})
	}
	s.Ahead = t.ahead()
	return s
}

// ahead lists the rows that nearly every act on a subject reads, and those that
// the act names. Where there is a border to decide about first, nothing is looked up before it.
func (t *txn) ahead() []store.Row {
	home := t.home.region.Jurisdiction
	abroad := func(j residency.Jurisdiction) bool { return j != home }
	if t.tk == nil || t.subject == "" || !t.a.to.IsZero() || abroad(t.a.call.Caller.Jurisdiction) || slices.ContainsFunc(t.a.call.Via, abroad) {
		return nil
	}
	rows := []store.Row{
		{Kind: store.KindTenant},
		{Kind: store.KindErasure, ID: erasureMark(t.subject)},
		{Kind: store.KindRestriction, ID: t.subject},
	}
	if t.a.ahead != nil {
		rows = append(rows, t.a.ahead(t)...)
	}
	return rows
}

// undecided says why a transaction did not come about.
func (g *Gateway) undecided(ctx context.Context, a *act, h home, failed, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, context.Canceled) {
		return &residency.Error{Op: a.op, Kind: residency.Canceled, Err: cause} // the caller has gone; nobody is told
	}
	if failed != nil {
		if residency.KindOf(failed) == residency.AuditUnavailable {
			g.metrics.auditFailures.WithLabelValues(string(h.region.Name)).Inc()
		}
		return residency.E(a.op, residency.RegionUnavailable, failed)
	}
	g.metrics.auditFailures.WithLabelValues(string(h.region.Name)).Inc()
	return residency.E(a.op, residency.AuditUnavailable, err)
}

// run is the transaction's body. answer is what the call gets; failed aborts the
// transaction.
func (t *txn) run(tx store.Tx, id uuid.UUID, body func(*txn) error) (answer, failed error) {
	t.begin(tx)
	if failed = t.judge(); failed != nil {
		return nil, failed
	}
	t.decision.ID, t.decision.Time = id.String(), t.now
	switch {
	case t.decision.Allow:
		if answer = t.tenantProblem(); answer == nil {
			if t.a.drive == "" { // a drive's is made once its incarnation is read
				t.permit = t.newPermit(t.subject)
			}
			if answer = body(t); answer != nil && !recorded(answer) {
				return nil, answer
			}
		}
	case t.a.denied != nil:
		if failed = t.a.denied(t); failed != nil {
			return nil, failed
		}
	}
	return answer, t.record(id, residency.KindOf(answer))
}

// begin forgets what an earlier run of the transaction found.
func (t *txn) begin(tx store.Tx) {
	t.Tx, t.now = tx, tx.Now()
	t.consents, t.bytes, t.permit, t.after = nil, 0, seal.Permit{}, nil
	t.row, t.exists, t.erases, t.object, t.sk = tenantRow{}, false, 0, "", nil
	t.whole, t.wholeRead, t.work = nil, false, 0
	t.recipient, t.recipientID, t.target = t.a.recipient, "", t.a.to
}

// recorded reports whether an error is an answer about the object, which the
// audit entry records, rather than a failure that undoes the transaction.
func recorded(err error) bool {
	switch residency.KindOf(err) {
	case residency.NotFound, residency.AlreadyExists, residency.VersionMismatch, residency.RequestIDReused,
		residency.BadRequest, residency.CardDataRefused, residency.Erased, residency.QuotaExceeded,
		residency.CallerNotPermitted, residency.IntegrityFailure:
		return true
	}
	return false
}

// record appends the audit entry.
func (t *txn) record(id uuid.UUID, result residency.Kind) error {
	if !t.exists { // refused at the border: nothing was looked up yet
		if err := t.load(); err != nil {
			return err
		}
	}
	index := store.ID("")
	if t.exists {
		index = newestFirst(id)
	}
	e := t.entry(result)
	if t.erases != ErasureKindUnspecified && t.decision.Allow {
		e.Phase = audit.Intent
	}
	if t.erases == ErasureOfSubject { // what stays of an erasure must not lead to a pseudonym
		e.Subject, e.Object = "", nil
	}
	if t.a.stream != nil && t.decision.Allow && result == residency.OK {
		e.Phase = audit.Intent
		if err := t.a.stream.open(t, e); err != nil {
			return err
		}
	}
	return t.append(index, e)
}

// append adds an entry to the audit log, or fails the whole transaction.
func (t *txn) append(index store.ID, e *audit.Entry) error {
	err := t.Append(index, func(place uint64) []byte {
		e.Place = place
		return e.Append(make([]byte, 0, 448))
	})
	if err != nil {
		return residency.E(t.a.op, residency.AuditUnavailable, err)
	}
	return nil
}

// conclude makes the decision known: to the call, the metrics and the log. Then
// it gives the call's error, if it has one.
func (t *txn) conclude(ctx context.Context, began time.Duration, answer error) error {
	g, call, d := t.g, t.a.call, &t.decision
	for _, f := range t.after {
		f(ctx)
	}
	call.Decision = *d
	tells := !t.a.inbound || t.a.answers
	if tells && (d.Allow || len(t.consents) > 0) { // a refusal, too, that came after a consent let the object be looked at
		call.Lease = t.lease()
	}
	g.metrics.decided(t.home.region.Name, d, t.bytes)
	if t.a.stream != nil {
		t.a.stream.renew(began + t.lease())
		if d.Allow && answer == nil {
			g.keeper.expect(t.a.stream) // its peer may ask for its lease as soon as it knows the decision
		}
	}
	if s := t.a.page; s != nil && d.Allow && answer == nil {
		s.renew(began + t.lease())
		g.keeper.expectPage(s, t)
	}
	if call.Decided != nil {
		call.Decided(*d)
	}
	switch {
	case !d.Allow:
		e := &residency.Error{Op: t.a.op, Kind: d.Reason, Decision: d}
		if d.Reason == residency.UseHomeEndpoint {
			e.Endpoint = t.home.region.Endpoint
		}
		return e
	case tells && t.a.stream == nil && g.elapsed()-began >= t.lease():
		return &residency.Error{
			Op: t.a.op, Kind: residency.AuditUnavailable, Decision: d,
			Err: errors.New("the decision took longer than it may be relied on"),
		}
	case answer != nil:
		e := residency.E(t.a.op, residency.Internal, answer)
		e.Decision = d
		return e
	}
	return nil
}

// lease is how long the decision may be relied on without looking again.
func (t *txn) lease() time.Duration {
	lease := t.g.limits.Lease
	for _, c := range t.consents {
		lease = min(lease, c.until.Sub(t.now))
	}
	return lease
}

// entry describes the act for the audit log: whom it concerns by pseudonym only.
func (t *txn) entry(result residency.Kind) *audit.Entry {
	d := &t.decision
	e := &audit.Entry{
		Time: t.now, Phase: audit.Decided, Method: t.a.call.Method, Caller: t.a.call.Caller.ID,
		Region: t.home.region.Name, Gateway: t.g.cfg.Name, Via: t.a.call.Via,
		Result: result, Bytes: t.bytes,
	}
	e.SetDecision(d)
	e.Consents = t.furtherConsents()
	if t.exists {
		e.Tenant = t.tk.Pseudonym()
	}
	if t.sk != nil {
		e.Subject = t.sk.Pseudonym()
	}
	switch {
	case t.drive != "" && t.exists:
		e.Object = t.tk.ObjectPseudonym(t.drive)
	case t.object != "" && t.sk != nil:
		e.Object = t.sk.ObjectPseudonym(t.object)
	}
	if t.recipientID != "" && t.exists {
		e.Recipient = t.tk.ObjectPseudonym(t.recipientRow(t.recipientID))
	}
	return e
}

// furtherConsents gives the consents that a permitted access relies on beside the
// one that its decision names, as many as an entry has room for.
func (t *txn) furtherConsents() (list []string) {
	if !t.decision.Allow {
		return nil
	}
	for _, c := range t.consents {
		if c.id != t.decision.ConsentID && len(list) < audit.MaxConsents {
			list = append(list, c.id)
		}
	}
	return list
}
