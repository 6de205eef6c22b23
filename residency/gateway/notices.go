package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

const (
	// maxNotices is how many notices, and how many objections, one scope may hold, a
	// person or the whole tenant: a disclosure to a third party reads them all.
	maxNotices = 1000

	// noticePeriod is how long people have to object when a notice does not say.
	noticePeriod = 30 * 24 * time.Hour
)

func (n *Notice) layout(f *fields) {
	f.text(1, &n.ID)
	f.text(2, &n.Subject)
	f.flag(3, &n.WholeTenant)
	f.text(4, &n.Recipient)
	number(f, 5, &n.Purposes)
	f.text(6, &n.Language)
	f.text(7, &n.Digest)
	f.time(8, &n.Given)
	f.time(9, &n.PeriodEnds)
}

func (o *Objection) layout(f *fields) {
	f.text(1, &o.ID)
	f.text(2, &o.Subject)
	f.flag(3, &o.WholeTenant)
	f.text(4, &o.Recipient)
	f.time(5, &o.Objected)
	f.time(6, &o.Lifted)
}

// GiveNotice records that notice of disclosures to a recipient was given (clause choice).
func (g *Gateway) GiveNotice(ctx context.Context, call *Call, req GiveNotice) (Notice, error) {
	const op = "gateway.GiveNotice"
	n := req.Notice
	if n.WholeTenant == (n.Subject != "") {
		return Notice{}, residency.Bad(op, "notice.scope", "must be either a subject or the whole tenant")
	}
	if n.Purposes == 0 {
		return Notice{}, residency.Bad(op, "notice.purposes", "must name at least one")
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Notice{}, residency.E(op, residency.Internal, err)
	}
	a := &act{call: call, op: op, tenant: req.Tenant, subject: n.Subject, exclusive: true, governs: n.WholeTenant}
	var out Notice
	_, err = g.decide(ctx, a, func(t *txn) error {
		digest := func() store.ID { return t.tk.ID(op, string(encodeRow(&n))) }
		return once(t, req.RequestID, digest, &out, func() error {
			out = n
			return t.giveNotice(id, &out)
		})
	})
	if err != nil {
		return Notice{}, err
	}
	return out, nil
}

func (t *txn) giveNotice(id uuid.UUID, n *Notice) error {
	n.ID, n.Given = id.String(), t.now
	if n.PeriodEnds.IsZero() {
		n.PeriodEnds = t.now.Add(noticePeriod)
	}
	if !n.PeriodEnds.After(t.now) {
		return residency.Bad(t.a.op, "notice.period_end_time", "must be in the future")
	}
	r, err := t.activeRecipient(n.Recipient)
	if err != nil {
		return err
	}
	if r == nil {
		return residency.E(t.a.op, residency.NotFound, nil)
	}
	scope, keys, err := t.ownScope()
	if err != nil {
		return err
	}
	if err := t.room(store.KindNotice, scope, maxNotices); err != nil {
		return err
	}
	t.recipientID = r.ID
	return t.putRow(keys, store.KindNotice, scope+newestFirst(id), 1, n)
}

// ownScope gives the scope that the act is about, its subject or without one the whole
// tenant, and the keys for what is recorded in it, made if there are none.
func (t *txn) ownScope() (store.ID, scopeKeys, error) {
	if t.subject == "" {
		return wholeTenant, t.tk, nil
	}
	sk, err := t.createSubject(t.ctx)
	return t.subject, sk, err
}

// RecordObjection records an objection to disclosures to third parties (clause choice). When it
// returns nil no gateway begins to send anything that the objection is about: like a withdrawal
// it waits out the leases of streams that were judged before, and holds no lock meanwhile.
func (g *Gateway) RecordObjection(ctx context.Context, call *Call, req RecordObjection) (Objection, error) {
	const op = "gateway.RecordObjection"
	o := req.Objection
	if o.WholeTenant == (o.Subject != "") {
		return Objection{}, residency.Bad(op, "objection.scope", "must be either a subject or the whole tenant")
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Objection{}, residency.E(op, residency.Internal, err)
	}
	a := &act{call: call, op: op, tenant: req.Tenant, subject: o.Subject, exclusive: true, governs: o.WholeTenant, suspended: true}
	var out Objection
	_, err = g.decide(ctx, a, func(t *txn) error {
		digest := func() store.ID { return t.tk.ID(op, string(encodeRow(&o))) }
		return once(t, req.RequestID, digest, &out, func() error {
			out = o
			return t.addObjection(id, &out)
		})
	})
	if err != nil {
		return Objection{}, err
	}
	if err := g.waitOut(ctx); err != nil {
		return Objection{}, residency.E(op, residency.RegionUnavailable, err)
	}
	return out, nil
}

func (t *txn) addObjection(id uuid.UUID, o *Objection) error {
	o.ID, o.Objected, o.Lifted = id.String(), t.now, time.Time{}
	scope, keys, err := t.ownScope()
	if err != nil {
		return err
	}
	if err := t.room(store.KindObjection, scope, maxNotices); err != nil {
		return err
	}
	return t.putScoped(keys, store.KindObjection, scope, newestFirst(id), 1, o)
}

// LiftObjection lifts an objection. Lifting again changes nothing.
func (g *Gateway) LiftObjection(ctx context.Context, call *Call, req GovernanceCall) (Objection, error) {
	const op = "gateway.LiftObjection"
	var out Objection
	a := &act{call: call, op: op, tenant: req.Tenant, governs: true} // whose it is is not known yet
	_, err := g.decide(ctx, a, func(t *txn) error {
		out = Objection{}
		digest := func() store.ID { return t.tk.ID(op, req.ID) }
		if _, err := t.replay(req.RequestID, digest, func([]byte) {}); err != nil { // lifting twice is lifting
			return err
		}
		keys, row, err := t.findObjection(req.ID, &out)
		if err != nil || !out.Lifted.IsZero() {
			return err
		}
		out.Lifted = t.now
		return errors.Join(t.putRow(keys, store.KindObjection, row, 2, &out), t.remember(req.RequestID, nil))
	})
	if err != nil {
		return Objection{}, err
	}
	return out, nil
}

// findObjection reads an objection by its identifier, or NOT_FOUND.
func (t *txn) findObjection(id string, o *Objection) (keys scopeKeys, row store.ID, err error) {
	scope, row, err := t.locate(store.KindObjection, id)
	if err != nil {
		return nil, "", err
	}
	if keys, err = t.keysFor(scope); err != nil {
		return nil, "", err
	}
	if sk, ok := keys.(*seal.SubjectKeys); ok {
		t.sk = sk // the log names whose it is
	}
	found := false
	if keys != nil {
		_, found, err = t.getRow(keys, store.KindObjection, row, o)
	}
	if err == nil && !found {
		err = residency.E(t.a.op, residency.NotFound, nil)
	}
	return keys, row, err
}

// noticed says whether notice of the disclosure was given, to the person or to everybody,
// and its period is over.
func (t *txn) noticed(recipient string, purpose residency.Purpose) (policy.Finding, error) {
	var out policy.Finding
	since, err := t.heldSince()
	if err != nil {
		return out, err
	}
	err = eachScoped(t, store.KindNotice, func(n *Notice) bool {
		if n.Recipient != recipient || !n.Purposes.Has(purpose) {
			return true
		}
		if n.WholeTenant && n.Given.Before(since) { // everybody then; the person came after
			return true
		}
		out.Met, out.Reason = !t.now.Before(n.PeriodEnds), residency.NoticePeriodOpen
		return !out.Met
	})
	return out, err
}

// heldSince says since when something is held about the act's subject; the zero time when nothing is.
func (t *txn) heldSince() (time.Time, error) {
	sealed, err := t.Get(store.KindSubject, t.subject)
	if t.sk == nil || errors.Is(err, store.ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	plain, _, err := t.sk.OpenFact(store.KindSubject, t.subject, sealed)
	if err != nil {
		return time.Time{}, err
	}
	row, err := decodeSubject(plain)
	if err != nil {
		return time.Time{}, residency.E(t.a.op, residency.IntegrityFailure, err)
	}
	return row.Created, nil
}

// unopposed says whether nobody objects to the disclosure, neither the person nor the tenant.
func (t *txn) unopposed(recipient string) (policy.Finding, error) {
	out := policy.Finding{Met: true}
	err := eachScoped(t, store.KindObjection, func(o *Objection) bool {
		out.Met = !o.Lifted.IsZero() || o.Recipient != "" && o.Recipient != recipient
		return out.Met
	})
	return out, err
}

// eachScoped reads the rows of a kind about the act's subject, then those about the
// whole tenant, until yield returns false.
func eachScoped[T any, P interface {
	*T
	row
}](t *txn, kind store.Kind, yield func(P) bool) error {
	going := true
	for _, scope := range []store.ID{t.subject, wholeTenant} {
		if scope == "" || !going {
			continue
		}
		keys, err := t.keysFor(scope)
		if err != nil {
			return err
		}
		if keys == nil { // a person of whom nothing is known
			continue
		}
		var failed error
		err = t.Scan(kind, scope, "", func(id store.ID, sealed []byte) bool {
			var v T
			if _, failed = t.openRow(keys, kind, id, sealed, P(&v)); failed == nil {
				going = yield(P(&v))
			}
			return failed == nil && going
		})
		if err = errors.Join(failed, err); err != nil {
			return err
		}
	}
	return nil
}

// allScopes is the prefix of an index by time over all scopes: its rows say in which scope
// a row of the same kind is. No subject's digest is this in practice, as none is zero.
const allScopes = store.ID("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")

// putScoped writes a row in a scope and the index row that finds it by its id alone.
func (t *txn) putScoped(keys scopeKeys, kind store.Kind, scope, id store.ID, version uint64, r row) error {
	return errors.Join(t.putRow(keys, kind, scope+id, version, r), t.Put(kind, allScopes+id, []byte(scope)))
}

// locate finds what putScoped wrote by its identifier, or NOT_FOUND.
func (t *txn) locate(kind store.Kind, id string) (scope, row store.ID, err error) {
	key, ok := rowOf(id)
	if !ok {
		return "", "", residency.E(t.a.op, residency.NotFound, nil)
	}
	b, err := t.Get(kind, allScopes+key)
	if errors.Is(err, store.ErrNotFound) {
		return "", "", residency.E(t.a.op, residency.NotFound, nil)
	}
	if err == nil && len(b) != idSize {
		err = residency.E(t.a.op, residency.IntegrityFailure, errors.New("a row's scope is damaged"))
	}
	return store.ID(b), store.ID(b) + key, err
}

// rowOf gives the row that an identifier that the gateway made is kept under; ok is false for
// what the gateway makes no identifier of.
func rowOf(id string) (row store.ID, ok bool) {
	u, err := uuid.Parse(id)
	return newestFirst(u), err == nil && u.String() == id
}

// keysFor gives the keys of a scope, or nil when they are gone or never were: nobody can read what is there.
func (t *txn) keysFor(scope store.ID) (scopeKeys, error) {
	if scope == wholeTenant {
		return t.tk, nil
	}
	sk, err := t.keysOf(t.ctx, scope)
	if sk == nil {
		return nil, err
	}
	return sk, nil
}
