package gateway

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/consent"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/store"
)

// RegisterTenant registers a tenant in the region that its residence decides
// (clauses us-residents, eu-residents), or, with an agreement, in another.
func (g *Gateway) RegisterTenant(ctx context.Context, call *Call, req NewTenant) (Tenant, error) {
	const op = "gateway.RegisterTenant"
	if err := refuseCardsIn(op, "agreement", req.Agreement); err != nil {
		return Tenant{}, err
	}
	region, err := g.placement(op, req)
	if err != nil {
		return Tenant{}, err
	}
	a := &act{
		call: call, op: op, tenant: req.ID, region: region, inbound: true, governs: true,
		refuse: func(t *txn) (*refusal, error) {
			return misplaced(t.policy.Placement(req.Residence), req.Agreement), nil
		},
	}
	t, err := g.decide(ctx, a, func(t *txn) error { return t.register(req) })
	if err != nil {
		return Tenant{}, err
	}
	if err := g.activate(ctx, t); err != nil {
		// The row is the truth and durable; whoever finds the reservation next repairs it.
		g.log.Warn("directory entry not activated", "region", string(region.Name), "decision", t.decision.ID, "err", err)
	}
	return t.public(), nil
}

// placement chooses the region. On what terms it takes a resident of that place is
// decided later, by the policy that is in force then.
func (g *Gateway) placement(op string, req NewTenant) (*Region, error) {
	if req.Home != "" {
		region := g.region(req.Home)
		if region == nil {
			return nil, residency.Bad(op, "home_region", "must be one of "+g.knownRegions())
		}
		return region, nil
	}
	for i := range g.cfg.Regions {
		region := &g.cfg.Regions[i]
		p, err := g.activePolicy(region, region.now())
		if err != nil {
			return nil, err
		}
		if p.Placement(req.Residence).Default {
			return region, nil
		}
	}
	return nil, residency.Bad(op, "home_region",
		"must be stated, with an agreement: no region is the default for this residence")
}

// misplaced says why a tenant may not be homed where it is to be.
func misplaced(p policy.Placement, agreement *consent.Evidence) *refusal {
	switch {
	case !p.Permitted && !p.Default:
		return &refusal{reason: residency.PlacementNotPermitted, clause: p.Clause}
	case p.Agreement && agreement == nil:
		return &refusal{
			reason: residency.AgreementRequired, clause: p.Clause,
			missing: residency.Set(residency.RequireAgreement),
		}
	}
	return nil
}

// register writes the tenant's row. The name is reserved in the directory
// first: a crash in between leaves a reservation that the next registration takes over.
func (t *txn) register(req NewTenant) error {
	if t.exists && t.row.State != TenantErasing {
		return t.registered(req)
	}
	if err := t.stated("agreement", req.Agreement); err != nil { // before anything is written
		return err
	}
	_, erased, err := t.home.region.Vault.Erased(t.ctx, t.home.tenant, "")
	switch {
	case err != nil:
		return residency.E(t.a.op, residency.KeysUnavailable, err)
	case erased || t.exists: // an identifier is never given out again
		return residency.E(t.a.op, residency.Erased, nil)
	case t.home.cluster.Closed: // then all are: homeToBe prefers one that is open
		t.g.log.Warn("a registration was refused: every storage cluster of the region is closed to new tenants",
			"region", string(t.home.region.Name))
		return residency.E(t.a.op, residency.QuotaExceeded, errors.New("every storage cluster of the region is closed"))
	}
	if err := t.reserve(); err != nil {
		return err
	}
	tk, err := t.home.region.Vault.CreateTenant(t.ctx, t.home.tenant)
	if err != nil {
		return residency.E(t.a.op, residency.KeysUnavailable, err)
	}
	t.hold(tk)
	t.row = tenantRow{
		ID: req.ID, Residence: req.Residence, Region: t.home.region.Name,
		State: TenantActive, Epoch: 1, Created: t.now,
	}
	t.request = t.registration(req)
	if err := t.putTenant(1); err != nil {
		return err
	}
	if req.Agreement != nil {
		if err := t.recordAgreement(req.Agreement); err != nil {
			return err
		}
	}
	t.exists = true
	return t.remember(req.RequestID, nil)
}

// putTenant writes the tenant's row.
func (t *txn) putTenant(version uint64) error {
	t.version = version
	return t.Put(store.KindTenant, "", t.tk.SealFact(store.KindTenant, "", version, t.row.encode()))
}

// registered answers a registration of a tenant that is there: the repeated
// call gets its first result, any other learns that the name is taken.
func (t *txn) registered(req NewTenant) error {
	found, err := t.replay(req.RequestID, func() store.ID { return t.registration(req) }, func([]byte) {})
	if err != nil || found {
		return err
	}
	return residency.E(t.a.op, residency.AlreadyExists, nil)
}

func (t *txn) registration(req NewTenant) store.ID {
	parts := []string{req.ID, req.Residence.String(), string(req.Home)}
	if e := req.Agreement; e != nil {
		parts = append(parts, e.Method, e.Grantor, e.NoticeLanguage, e.NoticeDigest, e.Stated.String())
	}
	return t.tk.ID("registration", parts...)
}

// recordAgreement records the tenant's agreement to where its data is held as a
// consent of its own kind, for the services and never for promotional offers. It replaces the
// agreements that were in force.
func (t *txn) recordAgreement(e *consent.Evidence) error {
	id, err := uuid.NewV7()
	if err != nil {
		return residency.E(t.a.op, residency.Internal, err)
	}
	c := consent.Consent{
		Kind: residency.ResidenceAgreement, WholeTenant: true, From: t.row.Residence, To: t.home.region.Jurisdiction,
		Classes:  residency.DataClassSet(residency.PersonalInformation, residency.VirtualDriveData, residency.AccountData),
		Purposes: allPurposes &^ residency.PurposeSet(residency.Marketing), Evidence: *e,
	}
	if err := t.complete(id, &c); err != nil {
		return err
	}
	there, err := t.consentsOf(wholeTenant)
	if err != nil {
		return err
	}
	if len(there) >= maxConsents {
		return residency.E(t.a.op, residency.QuotaExceeded, errors.New("too many consents of one scope"))
	}
	for i := range there {
		if old := &there[i]; old.Kind == residency.ResidenceAgreement && old.State(t.now) == residency.ConsentActive {
			if err := t.supersede(wholeTenant, t.tk, old, c.ID); err != nil {
				return err
			}
		}
	}
	return t.addConsent(id, wholeTenant, t.tk, &c)
}

var allPurposes = residency.Purposes(1<<residency.NumPurposes-1) &^ 1

// reserve takes the tenant's name in the directory, or takes over a reservation
// that never became a tenant.
func (t *txn) reserve() error {
	want := store.Placement{
		Region: t.home.region.Name, Cluster: t.home.cluster.Name, Epoch: 1,
		State: store.PlacementReserved, Time: t.now,
	}
	there, err := t.g.cfg.Directory.Reserve(t.ctx, t.home.tenant, want)
	if err == nil {
		return t.claim(want, want)
	}
	if !errors.Is(err, store.ErrExists) {
		return residency.E(t.a.op, residency.RegionUnavailable, err)
	}
	// Ours, from before a crash, is made fresh, so that nobody takes it over meanwhile: the row is not there.
	ours := there.Region == want.Region && there.Cluster == want.Cluster
	if !ours {
		if free, err := t.g.abandoned(t.ctx, t.home.tenant, there, t.now); err != nil || !free {
			return residency.E(t.a.op, residency.AlreadyExists, err)
		}
	}
	return t.claim(there, want)
}

// claim takes the tenant's name in the other regions and, in the directory, puts what is wanted in
// place of what is there. A name that is taken elsewhere is noted as such.
func (t *txn) claim(there, want store.Placement) error {
	taken, err := t.reserveAbroad()
	if err != nil {
		return err
	}
	if taken != "" {
		want.Region, want.Cluster = taken, peerCluster
	}
	if there != want {
		if err := t.g.cfg.Directory.Update(t.ctx, t.home.tenant, there, want); err != nil {
			return residency.E(t.a.op, residency.AlreadyExists, nil)
		}
	}
	if taken != "" {
		return residency.E(t.a.op, residency.AlreadyExists, nil)
	}
	return nil
}

// activate says in the directory that the tenant's row exists.
func (g *Gateway) activate(ctx context.Context, t *txn) error {
	old, err := g.cfg.Directory.Find(ctx, t.home.tenant)
	if err != nil {
		return err
	}
	if old.Region != t.home.region.Name || old.Cluster != t.home.cluster.Name {
		return errors.New("the directory places the tenant elsewhere")
	}
	if old.State == store.PlacementActive {
		return nil
	}
	active := old
	active.State = store.PlacementActive
	return g.cfg.Directory.Update(ctx, t.home.tenant, old, active)
}

// public gives the tenant as callers see it.
func (t *txn) public() Tenant {
	return publicTenant(&t.row, t.version, t.home.region, t.policy)
}

func publicTenant(r *tenantRow, version uint64, region *Region, p *policy.Policy) Tenant {
	return Tenant{
		ID: r.ID, Residence: r.Residence, Home: region.Name, Jurisdiction: region.Jurisdiction,
		Controller: region.Controller, PolicyVersion: p.Version, State: r.State, Created: r.Created,
		Version: version,
	}
}

// GetTenant gives one tenant's registration.
func (g *Gateway) GetTenant(ctx context.Context, call *Call, tenant string) (Tenant, error) {
	t, err := g.decide(ctx, &act{call: call, op: "gateway.GetTenant", tenant: tenant, suspended: true}, func(*txn) error { return nil })
	if err != nil {
		return Tenant{}, err
	}
	return t.public(), nil
}

// ListTenants lists the tenants of one region that the caller may see, in the
// order of their pseudonyms.
func (g *Gateway) ListTenants(ctx context.Context, call *Call, name residency.Region, page Page) ([]Tenant, string, error) {
	const op = "gateway.ListTenants"
	region := g.region(name)
	if region == nil {
		return nil, "", residency.Bad(op, "region", "must be one of "+g.regionNames())
	}
	a := &act{call: call, op: op, region: region}
	var p *pager
	t, err := g.decide(ctx, a, func(*txn) error {
		var err error
		p, err = g.regionPage(a, page)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	var after store.Tenant
	copy(after[:], p.after)
	list := make([]Tenant, 0, p.size)
	next, looked := "", 0
	var last, seen store.Tenant // the last that was listed, and that was looked at
	var failed error
	err = g.cfg.Directory.List(ctx, name, after, func(id store.Tenant, place store.Placement) bool {
		if looked >= maxLook { // go on behind the last that was looked at, shown or not
			next = p.token(store.ID(seen[:]))
			return false
		}
		looked, seen = looked+1, id
		var row *txn
		row, failed = g.readTenant(ctx, id, place)
		if residency.KindOf(failed) == residency.IntegrityFailure { // one damaged row must not hide the others
			g.log.Error("a tenant's row is damaged", "region", string(name), "err", failed)
			failed = nil
		}
		if failed != nil {
			return false
		}
		if row != nil && call.Caller.Sees != nil && call.Caller.Sees(row.row.ID) {
			if len(list) >= p.size { // there is more that this caller may see
				next = p.token(store.ID(last[:]))
				return false
			}
			list = append(list, publicTenant(&row.row, row.version, region, t.policy))
			last = id
		}
		return true
	})
	if failed != nil {
		err = failed
	}
	if err != nil {
		return nil, "", residency.E(op, residency.RegionUnavailable, err)
	}
	return list, next, nil
}

// readTenant reads a tenant's row, or gives nil when it has none.
func (g *Gateway) readTenant(ctx context.Context, id store.Tenant, place store.Placement) (*txn, error) {
	h, err := g.place(id, place)
	if err != nil {
		return nil, err
	}
	t := &txn{g: g, a: &act{op: "gateway.readTenant", tenant: "?"}, home: h}
	if err := t.keys(ctx); err != nil {
		return nil, err
	}
	err = h.cluster.Rows.View(ctx, store.Scope{Tenant: id}, func(tx store.Tx) error {
		t.Tx = tx
		return t.load()
	})
	if err != nil || !t.exists {
		return nil, err
	}
	return t, nil
}
