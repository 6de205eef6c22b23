package gateway

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// tenantCheck is the check of one tenant's rows and blobs in one cluster.
type tenantCheck struct {
	*fsck
	home home
	tk   *seal.TenantKeys
	row  tenantRow

	drives    map[store.ID]store.ID // the locks (digests of names) of the tenant's drives, by incarnation
	snapshots map[store.ID]store.ID // the incarnations of the drives of its snapshots

	unreferred  map[blobDigest]bool // blobs to which nothing seems to refer
	lookedTwice bool                // and did not the second time either
}

func whatTenant(t store.Tenant) string { return "tenant " + t.String() }

func whatRow(t store.Tenant, kind store.Kind, id store.ID) string {
	return fmt.Sprintf("tenant %s, row of kind %d, %s", t, kind, hex.EncodeToString([]byte(id)))
}

func whatSubject(t store.Tenant, subject store.ID) string {
	return fmt.Sprintf("tenant %s, subject %s", t, hex.EncodeToString([]byte(subject)))
}

func whatDrive(t store.Tenant, self store.ID) string {
	return fmt.Sprintf("tenant %s, drive %s", t, hex.EncodeToString([]byte(self)))
}

// checkTenants looks at every tenant that has rows in the cluster.
func (f *fsck) checkTenants(ctx context.Context) error {
	after, more := store.Tenant{}, true
	for more {
		var page []store.Tenant
		err := f.cluster.Rows.Tenants(ctx, after, func(t store.Tenant) bool {
			page = append(page, t)
			return len(page) < fsckPage
		})
		if err != nil {
			return err
		}
		for _, t := range page {
			f.progress("tenants", f.checked.Tenants)
			f.checked.Tenants++
			if err := f.checkTenant(ctx, t); err != nil {
				return fmt.Errorf("tenant %s: %w", t, err)
			}
			after = t
		}
		more = len(page) == fsckPage
	}
	return nil
}

func (f *fsck) checkTenant(ctx context.Context, t store.Tenant) error {
	c := &tenantCheck{fsck: f, home: home{tenant: t, region: f.region, cluster: f.cluster, known: true}}
	if err := c.place(ctx); err != nil {
		return err
	}
	tk, err := f.region.Vault.Tenant(ctx, t)
	if errors.Is(err, store.ErrNotFound) {
		return c.withoutKey(ctx)
	}
	if err != nil {
		return unlessDamaged(err) // the check of the keys says so
	}
	c.tk = tk
	state, err := c.checkRow(ctx)
	if err != nil || state == TenantErasing {
		return err
	}
	for _, check := range []func(context.Context) error{c.checkBlobs, c.checkPeople, c.checkGoverned, c.checkErasures, c.checkDecisions} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// unlessDamaged gives an error unless it says that stored bytes do not open.
func unlessDamaged(err error) error {
	if seal.Damaged(err) {
		return nil
	}
	return err
}

// txn makes the transaction that the gateway's own functions read in.
func (c *tenantCheck) txn(ctx context.Context, tx store.Tx) *txn {
	return &txn{
		Tx: tx, ctx: ctx, g: c.g, home: c.home, tk: c.tk, now: tx.Now(),
		a: &act{op: "gateway.Fsck", tenant: "?", call: &Call{Method: "fsck"}},
	}
}

// place compares the directory with where the tenant's rows are.
func (c *tenantCheck) place(ctx context.Context) error {
	found, err := c.misplaced(ctx)
	if err != nil || len(found) == 0 {
		return err
	}
	return c.suspect(ctx, c.misplaced)
}

func (c *tenantCheck) misplaced(ctx context.Context) ([]Finding, error) {
	wrong := func(code FsckCode, detail string) ([]Finding, error) {
		return []Finding{c.finding(code, whatTenant(c.home.tenant), detail)}, nil
	}
	there, err := c.anybody(ctx, c.home.tenant)
	if err != nil || !there {
		return nil, err
	}
	p, err := c.g.cfg.Directory.Find(ctx, c.home.tenant)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return wrong(DirectoryMissing, "the cluster has rows of a tenant that the directory does not know")
	case err != nil:
		return nil, err
	case p.Region != c.region.Name || p.Cluster != c.cluster.Name:
		return wrong(DirectoryDiffers, fmt.Sprintf("the cluster has rows of a tenant that the directory places in region %q, cluster %q", p.Region, p.Cluster))
	case p.State == store.PlacementReserved:
		return wrong(DirectoryReserved, "the tenant's rows are there, and the directory says that its name is only reserved")
	}
	if c.tk != nil && c.row.Epoch != 0 && p.Epoch != c.row.Epoch {
		return wrong(EpochDiffers, fmt.Sprintf("the directory has epoch %d, the tenant's row %d", p.Epoch, c.row.Epoch))
	}
	return nil, nil
}

// withoutKey looks at a tenant whose key is not there: it was erased, or the key is lost.
func (c *tenantCheck) withoutKey(ctx context.Context) error {
	_, erased, err := c.region.Vault.Erased(ctx, c.home.tenant, "")
	if err != nil {
		return err
	}
	if erased {
		return c.erasedTenant(ctx)
	}
	return c.suspect(ctx, func(ctx context.Context) ([]Finding, error) {
		there, err := c.anybody(ctx, c.home.tenant)
		if err != nil || !there {
			return nil, err
		}
		_, err = c.region.Vault.Tenant(ctx, c.home.tenant)
		if !errors.Is(err, store.ErrNotFound) {
			return nil, unlessDamaged(err)
		}
		return []Finding{c.finding(KeyMissing, whatTenant(c.home.tenant), "the tenant has rows and no key: nothing of it can be opened")}, nil
	})
}

// checkRow looks at the tenant's own row.
func (c *tenantCheck) checkRow(ctx context.Context) (TenantState, error) {
	found, err := c.ownRow(ctx)
	if err != nil {
		return 0, err
	}
	if len(found) > 0 {
		return 0, c.suspect(ctx, c.ownRow)
	}
	if c.row.State == TenantErasing {
		return TenantErasing, c.await(ctx, c.home.tenant, "",
			c.finding(TaskMissing, whatTenant(c.home.tenant), "the tenant is being erased, and no task sees to it"),
			func(ctx context.Context) (bool, error) {
				_, err := c.ownRow(ctx)
				return err == nil && c.row.State == TenantErasing, err
			})
	}
	if found, err = c.misplaced(ctx); err != nil || len(found) == 0 { // again, now that its epoch is known
		return c.row.State, err
	}
	return c.row.State, c.suspect(ctx, c.misplaced)
}

func (c *tenantCheck) ownRow(ctx context.Context) (found []Finding, err error) {
	what := whatRow(c.home.tenant, store.KindTenant, "")
	err = c.view(ctx, store.Scope{Tenant: c.home.tenant}, func(tx store.Tx) error {
		found, c.row = nil, tenantRow{}
		sealed, there, err := has(tx, store.KindTenant, "")
		if err != nil {
			return err
		}
		if !there {
			if there, err = anyRows(tx); there && err == nil {
				found = []Finding{c.finding(TenantMissing, whatTenant(c.home.tenant), "the tenant has rows, and its own row is not there")}
			}
			return err
		}
		plain, _, err := c.tk.OpenFact(store.KindTenant, "", sealed)
		if err == nil {
			c.row, err = decodeTenant(plain)
		}
		if err != nil {
			found = []Finding{c.finding(RowDamaged, what, "it does not open")}
			return nil //nolint:nilerr // it is found
		}
		self := c.g.pseudonym(c.row.ID)
		if c.row.Region != c.region.Name || !bytes.Equal(self[:], c.home.tenant[:]) {
			found = []Finding{c.finding(RowDamaged, what, "it is the row of another tenant or region")}
		}
		return nil
	})
	return found, err
}

// problem is what a row's check found.
type problem struct {
	code   FsckCode
	what   string // "" = the row itself
	detail string
}

func wrong(code FsckCode, detail string) []problem { return []problem{{code, "", detail}} }

// rowCheck looks at one row.
type rowCheck struct {
	kind store.Kind
	// near are other rows that look needs; nil = none.
	near func(id store.ID, value []byte) []store.Row
	// lock is whose lock keeps the row and those near it as they are; nil = the tenant's suffices.
	lock func(id store.ID) store.ID
	look func(t *txn, id store.ID, value []byte) ([]problem, error)
	// again is look when it is done a second time; nil = look itself.
	again func(t *txn, id store.ID, value []byte) ([]problem, error)
	// uncounted says that another look counts the rows.
	uncounted bool
	// seen is told of every row, in order, before it is looked at; nil = nobody is.
	seen func(ctx context.Context, id store.ID) error
}

// each looks at every row of a kind, some at a time.
func (c *tenantCheck) each(ctx context.Context, check rowCheck) error {
	after := store.ID("")
	for {
		page, err := c.page(ctx, check.kind, after)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, r := range page {
			if check.seen != nil {
				if err := check.seen(ctx, r.id); err != nil {
					return err
				}
			}
		}
		if err := c.lookAt(ctx, &check, page); err != nil {
			return err
		}
		after = page[len(page)-1].id
		if !check.uncounted {
			c.checked.Rows += uint64(len(page))
		}
		if len(page) < fsckPage {
			return nil
		}
	}
}

// foundRow is a row that a scan came upon.
type foundRow struct {
	id    store.ID
	value []byte
}

// page reads the next rows of a kind.
func (c *tenantCheck) page(ctx context.Context, kind store.Kind, after store.ID) (list []foundRow, err error) {
	err = c.view(ctx, store.Scope{Tenant: c.home.tenant}, func(tx store.Tx) (err error) {
		list, err = scanPage(tx, kind, after)
		return err
	})
	return list, err
}

// scanPage reads the next rows of a kind in a transaction.
func scanPage(tx store.Tx, kind store.Kind, after store.ID) (list []foundRow, err error) {
	err = tx.Scan(kind, "", after, func(id store.ID, value []byte) bool {
		list = append(list, foundRow{id, bytes.Clone(value)})
		return len(list) < fsckPage
	})
	return list, err
}

// lookAt looks at rows, as many at a time as a transaction reads near rows ahead for.
func (c *tenantCheck) lookAt(ctx context.Context, check *rowCheck, page []foundRow) error {
	for len(page) > 0 {
		var near []store.Row
		n := 0
		for ; n < len(page); n++ {
			if check.near == nil {
				continue
			}
			more := check.near(page[n].id, page[n].value)
			if len(near)+len(more) > maxLocks && n > 0 {
				break
			}
			near = append(near, more[:min(len(more), maxLocks)]...)
		}
		var odd []store.ID
		err := c.view(ctx, store.Scope{Tenant: c.home.tenant, Ahead: near}, func(tx store.Tx) error {
			odd = nil
			t := c.txn(ctx, tx)
			for _, r := range page[:n] {
				problems, err := check.look(t, r.id, r.value)
				if err != nil {
					return err
				}
				if len(problems) > 0 {
					odd = append(odd, r.id)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, id := range odd {
			if err := c.suspectRow(ctx, *check, id); err != nil {
				return err
			}
		}
		page = page[n:]
	}
	return nil
}

// suspectRow looks at a row again later, under the lock that keeps it as it is.
func (c *tenantCheck) suspectRow(ctx context.Context, check rowCheck, id store.ID) error {
	if check.again != nil { // and let go of what the first look needs
		check.look = check.again
	}
	return c.suspect(ctx, func(ctx context.Context) (found []Finding, err error) {
		if c.drives != nil { // they may be others by now
			if err := c.readDrives(ctx); err != nil {
				return nil, err
			}
		}
		scope := store.Scope{Tenant: c.home.tenant}
		if check.lock != nil {
			if object := check.lock(id); object != "" {
				scope.Objects = []store.Lock{{Object: object}}
			}
		}
		var problems []problem
		err = c.view(ctx, scope, func(tx store.Tx) error {
			problems = nil
			value, there, err := has(tx, check.kind, id)
			if there && err == nil {
				problems, err = check.look(c.txn(ctx, tx), id, value)
			}
			return err
		})
		for _, p := range problems {
			found = append(found, c.problem(check.kind, id, p))
		}
		return found, err
	})
}

func (c *tenantCheck) problem(kind store.Kind, id store.ID, p problem) Finding {
	if p.what == "" {
		p.what = whatRow(c.home.tenant, kind, id)
	}
	return c.finding(p.code, p.what, p.detail)
}
