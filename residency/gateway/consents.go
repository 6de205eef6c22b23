package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// maxConsents is how many consents one scope may hold, a person or the whole
// tenant: every decision that needs one reads them all.
const maxConsents = 1000

// clauseRecordedAct is what the acts that make and end a consent cite: use is none, only a recorded act is.
const clauseRecordedAct = "implied-acceptance"

// scopeKeys seals and opens the consents of one scope.
type scopeKeys interface {
	SealFact(kind store.Kind, id store.ID, version uint64, plaintext []byte) []byte
	OpenFact(kind store.Kind, id store.ID, sealed []byte) ([]byte, uint64, error)
}

var (
	_ scopeKeys = (*seal.TenantKeys)(nil)
	_ scopeKeys = (*seal.SubjectKeys)(nil)
)

// findConsent looks for a consent among those of a subject ("" = none) and the
// whole tenant's.
func (t *txn) findConsent(q consent.Query, subject store.ID) (consent.Finding, error) {
	if t.tk == nil {
		return consent.Finding{}, nil
	}
	var own []consent.Consent
	var err error
	if subject != "" {
		if own, err = t.consentsOf(subject); err != nil {
			return consent.Finding{}, err
		}
	}
	if !t.wholeRead { // a listing asks again for every subject
		if t.whole, err = t.consentsOf(wholeTenant); err != nil {
			return consent.Finding{}, err
		}
		t.wholeRead = true
	}
	return consent.Find(q, t.now, own, t.whole), nil
}

// consentsOf reads the consents of one scope.
func (t *txn) consentsOf(scope store.ID) ([]consent.Consent, error) {
	var list []consent.Consent
	var keys scopeKeys
	var failed error
	err := t.Scan(store.KindConsent, scope, "", func(id store.ID, sealed []byte) bool {
		if keys == nil {
			if keys, failed = t.scopeKeys(scope); failed != nil {
				return false
			}
		}
		var c consent.Consent
		if c, _, failed = openConsent(keys, id, sealed); failed != nil {
			return false
		}
		t.revise(&c)
		list = append(list, c)
		t.work++
		return len(list) < maxConsents
	})
	if residency.KindOf(failed) == residency.NotFound { // erased: there is nobody whose word it could be
		return nil, nil
	}
	if failed != nil {
		err = failed
	}
	return list, err
}

// scopeKeys gives the keys that a scope's consents are sealed under.
func (t *txn) scopeKeys(scope store.ID) (scopeKeys, error) {
	if scope == wholeTenant {
		return t.tk, nil
	}
	sk, err := t.keysOf(t.ctx, scope)
	if err != nil {
		return nil, err
	}
	if sk == nil {
		return nil, t.keyless(scope)
	}
	return sk, nil
}

func openConsent(keys scopeKeys, id store.ID, sealed []byte) (consent.Consent, uint64, error) {
	plain, version, err := keys.OpenFact(store.KindConsent, id, sealed)
	if err != nil {
		return consent.Consent{}, 0, err
	}
	c, err := consent.Decode(plain)
	if err != nil {
		return consent.Consent{}, 0, residency.E("gateway.openConsent", residency.IntegrityFailure, err)
	}
	return c, version, nil
}

// putConsent writes a consent's row.
func (t *txn) putConsent(keys scopeKeys, row store.ID, version uint64, c *consent.Consent) error {
	return t.Put(store.KindConsent, row, keys.SealFact(store.KindConsent, row, version, c.Encode()))
}

// GrantConsent records a consent. Only a caller in the jurisdiction that it
// leads from may do so.
func (g *Gateway) GrantConsent(ctx context.Context, call *Call, req GrantConsent) (ConsentNow, error) {
	const op = "gateway.GrantConsent"
	from := req.Consent.From
	if req.Consent.Kind == residency.ResidenceAgreement {
		from = req.Consent.To // it leads from where the tenant resides to where its data is homed
	}
	if from != call.Caller.Jurisdiction {
		return ConsentNow{}, residency.E(op, residency.CallerNotPermitted,
			errors.New("a consent is recorded in the jurisdiction that it leads from, an agreement where the data is homed"))
	}
	if err := checkConsent(op, &req.Consent); err != nil {
		return ConsentNow{}, err
	}
	if err := refuseCardsIn(op, "consent.evidence", &req.Consent.Evidence); err != nil {
		return ConsentNow{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return ConsentNow{}, residency.E(op, residency.Internal, err)
	}
	a := &act{
		call: call, op: op, tenant: req.Tenant, subject: req.Consent.Subject,
		exclusive: true, governs: req.Consent.WholeTenant, clause: clauseRecordedAct,
	}
	var granted consent.Consent
	t, err := g.decide(ctx, a, func(t *txn) error {
		c := req.Consent
		var err error
		granted, err = t.grant(id, &c, req.RequestID)
		return err
	})
	if err != nil {
		return ConsentNow{}, err
	}
	return t.standing(granted), nil
}

// grant records a consent within its transaction.
func (t *txn) grant(id uuid.UUID, c *consent.Consent, requestID string) (consent.Consent, error) {
	digest := func() store.ID { return t.tk.ID("grant-consent", string(c.Encode())) }
	var first string
	if found, err := t.replay(requestID, digest, func(b []byte) { first = string(b) }); err != nil {
		return consent.Consent{}, err
	} else if found {
		t.decision.ConsentID = first
		c, _, err := t.readConsent(first)
		return c, err
	}
	if err := t.complete(id, c); err != nil {
		return consent.Consent{}, err
	}
	if c.Kind == residency.ResidenceAgreement && (c.From != t.row.Residence || c.To != t.home.region.Jurisdiction) {
		return consent.Consent{}, residency.Bad(t.a.op, "consent.from_jurisdiction",
			"an agreement to where data is held leads from the tenant's residence to its home")
	}
	scope, keys, err := t.scopeOf(c)
	if err != nil {
		return consent.Consent{}, err
	}
	if err := t.admitConsent(scope, keys, c); err != nil {
		return consent.Consent{}, err
	}
	if err := t.addConsent(id, scope, keys, c); err != nil {
		return consent.Consent{}, err
	}
	return *c, t.remember(requestID, []byte(c.ID))
}

// addConsent writes a new consent's rows.
func (t *txn) addConsent(id uuid.UUID, scope store.ID, keys scopeKeys, c *consent.Consent) error {
	if err := t.putConsent(keys, scope+newestFirst(id), 1, c); err != nil {
		return err
	}
	t.decision.ConsentID = c.ID // the log names it
	t.later(func(context.Context) { t.g.metrics.consentChange(t.home.region.Name, changeGranted) })
	return t.Put(store.KindConsentID, newestFirst(id), []byte(scope))
}

// complete fills in what the gateway sets.
func (t *txn) complete(id uuid.UUID, c *consent.Consent) error {
	c.ID, c.Granted, c.GrantedBy = id.String(), t.now, t.a.call.Caller.ID
	c.PolicyVersion = t.policy.Version
	if c.To.IsZero() {
		c.To = c.From
	}
	if c.Evidence.Stated.IsZero() {
		c.Evidence.Stated = t.now
	}
	if c.Expires.IsZero() {
		c.Expires = t.now.AddDate(0, t.policy.ConsentMonths, 0)
	}
	if !c.Expires.After(t.now) {
		return residency.Bad(t.a.op, "consent.expire_time", "must be in the future")
	}
	return t.stated("consent.evidence", &c.Evidence)
}

// stated refuses evidence of a statement that is still to be made; nil is none.
func (t *txn) stated(field string, e *consent.Evidence) error {
	if e != nil && e.Stated.After(t.now.Add(time.Minute)) {
		return residency.Bad(t.a.op, field+".statement_time", "must not be in the future")
	}
	return nil
}

// scopeOf gives the scope of a consent and the keys that seal it.
func (t *txn) scopeOf(c *consent.Consent) (store.ID, scopeKeys, error) {
	if c.WholeTenant {
		return wholeTenant, t.tk, nil
	}
	sk, err := t.createSubject(t.ctx)
	return t.subject, sk, err
}

// admitConsent checks a consent against those that are there, and marks the one
// that it replaces.
func (t *txn) admitConsent(scope store.ID, keys scopeKeys, c *consent.Consent) error {
	there, err := t.consentsOf(scope)
	if err != nil {
		return err
	}
	if len(there) >= maxConsents {
		return residency.E(t.a.op, residency.QuotaExceeded, errors.New("too many consents of one scope"))
	}
	if c.Supersedes == "" {
		return nil
	}
	for i := range there {
		old := &there[i]
		if old.ID != c.Supersedes || old.State(t.now) != residency.ConsentActive {
			continue
		}
		return t.supersede(scope, keys, old, c.ID)
	}
	return residency.Bad(t.a.op, "consent.supersedes", "must name an active consent of the same person, or of the whole tenant where this one is")
}

func (t *txn) supersede(scope store.ID, keys scopeKeys, old *consent.Consent, by string) error {
	id, err := uuid.Parse(old.ID)
	if err != nil {
		return residency.E(t.a.op, residency.IntegrityFailure, err)
	}
	old.Superseded, old.SupersededBy = t.now, by
	t.later(func(context.Context) {
		t.g.metrics.consentChange(t.home.region.Name, changeSuperseded)
		t.g.keeper.cut(old.ID, residency.ConsentIsSuperseded)
	})
	return t.putConsent(keys, scope+newestFirst(id), 2, old)
}

// checkConsent refuses a consent that could never take effect.
func checkConsent(op string, c *consent.Consent) error {
	crosses := c.Kind == residency.BorderCrossing || c.Kind == residency.ResidenceAgreement
	switch {
	case c.WholeTenant == (c.Subject != ""):
		return residency.Bad(op, "consent.scope", "must be either a subject or the whole tenant")
	case c.Classes == 0:
		return residency.Bad(op, "consent.data_classes", "must name at least one")
	case c.Purposes == 0:
		return residency.Bad(op, "consent.purposes", "must name at least one")
	case crosses && c.To.IsZero():
		return residency.Bad(op, "consent.to_jurisdiction", "must be stated for this kind of consent")
	case crosses && c.To == c.From:
		return residency.Bad(op, "consent.to_jurisdiction", "must differ from from_jurisdiction for this kind of consent")
	case !crosses && !c.To.IsZero() && c.To != c.From:
		return residency.Bad(op, "consent.to_jurisdiction", "must be from_jurisdiction or empty for this kind of consent")
	case c.Classes.Has(residency.VirtualDriveData) && !c.WholeTenant:
		return residency.Bad(op, "consent.data_classes", "drive data belongs to the tenant: a consent that covers it must be the whole tenant's")
	case c.Kind == residency.ResidenceAgreement && !c.WholeTenant:
		return residency.Bad(op, "consent.scope", "an agreement to where data is held must be the whole tenant's")
	case c.Kind == residency.ResidenceAgreement && c.Purposes.Has(residency.Marketing):
		return residency.Bad(op, "consent.purposes", "an agreement to where data is held never covers MARKETING")
	case c.Kind == residency.MarketingOptIn && !c.Purposes.Has(residency.Marketing):
		return residency.Bad(op, "consent.purposes", "a marketing opt-in must cover MARKETING")
	}
	return nil
}

// locateConsent finds a consent's scope; ok is false when there is no such consent.
func (t *txn) locateConsent(consentID string) (row store.ID, scope store.ID, ok bool, err error) {
	id, malformed := uuid.Parse(consentID)
	if malformed != nil || id.String() != consentID { // no consent has such a name
		return "", "", false, nil //nolint:nilerr // not a failure: there is none
	}
	b, err := t.Get(store.KindConsentID, newestFirst(id))
	if errors.Is(err, store.ErrNotFound) {
		return "", "", false, nil
	}
	if err != nil {
		return "", "", false, err
	}
	if scope = store.ID(b); len(scope) != idSize {
		return "", "", false, residency.E(t.a.op, residency.IntegrityFailure, errors.New("a consent's scope is damaged"))
	}
	return scope + newestFirst(id), scope, true, nil
}

// readConsent reads one consent, or NOT_FOUND.
func (t *txn) readConsent(consentID string) (consent.Consent, uint64, error) {
	row, scope, ok, err := t.locateConsent(consentID)
	if err != nil {
		return consent.Consent{}, 0, err
	}
	if !ok {
		return consent.Consent{}, 0, residency.E(t.a.op, residency.NotFound, nil)
	}
	sealed, err := t.Get(store.KindConsent, row)
	if errors.Is(err, store.ErrNotFound) {
		return consent.Consent{}, 0, residency.E(t.a.op, residency.IntegrityFailure, errors.New("a consent's row is missing"))
	}
	if err != nil {
		return consent.Consent{}, 0, err
	}
	keys, err := t.scopeKeys(scope)
	if err != nil {
		return consent.Consent{}, 0, err
	}
	c, version, err := openConsent(keys, row, sealed)
	t.revise(&c)
	return c, version, err
}

// standing says where a consent stands now, and whom it is given to.
func (t *txn) standing(c consent.Consent) ConsentNow {
	return ConsentNow{Consent: c, State: c.State(t.now), Controller: t.home.region.Controller}
}

// GetConsent gives one consent.
func (g *Gateway) GetConsent(ctx context.Context, call *Call, tenant, consentID string) (ConsentNow, error) {
	var c consent.Consent
	t, err := g.decide(ctx, &act{call: call, op: "gateway.GetConsent", tenant: tenant, suspended: true}, func(t *txn) error {
		var err error
		c, _, err = t.readConsent(consentID)
		return err
	})
	if err != nil {
		return ConsentNow{}, err
	}
	return t.standing(c), nil
}

// ListConsents lists consents, newest first.
func (g *Gateway) ListConsents(ctx context.Context, call *Call, req ListConsents) ([]ConsentNow, string, error) {
	var list []ConsentNow
	var next string
	a := &act{call: call, op: "gateway.ListConsents", tenant: req.Tenant, subject: req.Subject, suspended: true}
	_, err := g.decide(ctx, a, func(t *txn) error {
		list = nil
		pager, err := t.page(req.Page, "consents", req.Subject, req.State.String())
		if err != nil {
			return err
		}
		if next, err = t.listConsents(req, pager, &list); err != nil {
			return err
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	return list, next, nil
}

func (t *txn) listConsents(req ListConsents, p *pager, list *[]ConsentNow) (string, error) {
	kind, prefix := store.KindConsentID, store.ID("")
	if req.Subject != "" {
		kind, prefix = store.KindConsent, t.subject
	}
	return p.walk(t, kind, prefix, func(id store.ID, _ []byte) (bool, error) {
		u, err := fromNewestFirst(id[len(prefix):])
		if err != nil {
			return false, residency.E(t.a.op, residency.IntegrityFailure, err)
		}
		c, _, err := t.readConsent(u.String())
		if residency.KindOf(err) == residency.NotFound { // its subject was erased, and it waits for the sweep
			return false, nil
		}
		if err != nil {
			return false, err
		}
		state := c.State(t.now)
		if req.State != residency.ConsentStateUnspecified && req.State != state {
			return false, nil
		}
		t.bytes += uint64(len(c.Encode()))
		*list = append(*list, t.standing(c))
		return true, nil
	})
}

// WithdrawConsent takes a consent back, from anywhere. When it returns nil no
// gateway begins to send anything that relied on it: every permit that rests on
// the consent is at most a lease old, and the lease has been waited out. No lock
// is held meanwhile.
func (g *Gateway) WithdrawConsent(ctx context.Context, call *Call, req WithdrawConsent) (ConsentWithdrawn, error) {
	const op = "gateway.WithdrawConsent"
	start := time.Now()
	commit, cancel := context.WithTimeout(ctx, g.limits.withdraw())
	defer cancel()
	var out ConsentWithdrawn
	a := &act{call: call, op: op, tenant: req.Tenant, inbound: true, governs: true, suspended: true, clause: clauseRecordedAct}
	_, err := g.decide(commit, a, func(t *txn) error {
		var err error
		out, err = t.withdraw(req)
		return err
	})
	if err != nil {
		return ConsentWithdrawn{}, err
	}
	if err := g.waitOut(ctx); err != nil {
		return ConsentWithdrawn{}, residency.E(op, residency.RegionUnavailable, err)
	}
	g.metrics.revocationSeconds.Observe(time.Since(start).Seconds())
	return out, nil
}

// withdraw takes the consent back within its transaction.
func (t *txn) withdraw(req WithdrawConsent) (ConsentWithdrawn, error) {
	digest := func() store.ID { return t.tk.ID("withdraw-consent", req.Consent) }
	if _, err := t.replay(req.RequestID, digest, func([]byte) {}); err != nil {
		return ConsentWithdrawn{}, err
	}
	c, version, err := t.readConsent(req.Consent)
	if err != nil {
		return ConsentWithdrawn{}, err
	}
	row, scope, _, err := t.locateConsent(req.Consent)
	if err != nil {
		return ConsentWithdrawn{}, err
	}
	keys, err := t.scopeKeys(scope)
	if err != nil {
		return ConsentWithdrawn{}, err
	}
	t.decision.ConsentID = c.ID // the log names it, and whose it is
	if sk, ok := keys.(*seal.SubjectKeys); ok {
		t.sk = sk
	}
	if c.Withdrawn.IsZero() {
		c.Withdrawn, c.WithdrawnBy = t.now, t.a.call.Caller.ID
		if err := t.putConsent(keys, row, version+1, &c); err != nil {
			return ConsentWithdrawn{}, err
		}
		if err := t.remember(req.RequestID, nil); err != nil {
			return ConsentWithdrawn{}, err
		}
		t.later(func(context.Context) { t.g.metrics.consentChange(t.home.region.Name, changeWithdrawn) })
	}
	t.later(func(context.Context) { t.g.keeper.cut(c.ID, residency.ConsentIsWithdrawn) })
	return ConsentWithdrawn{ID: c.ID, State: c.State(t.now), Withdrawn: c.Withdrawn}, nil
}

// later runs f once the transaction is durable.
func (t *txn) later(f func(context.Context)) { t.after = append(t.after, f) }

// waitOut waits until every permit that was made before now has lapsed.
func (g *Gateway) waitOut(ctx context.Context) error {
	deadline := g.elapsed() + g.limits.Lease
	for {
		left := deadline - g.elapsed()
		if left <= 0 {
			return nil
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}
