package gateway

import (
	"context"
	"errors"
	"strings"

	"github.com/domicile-project/domicile/residency/store"
)

// taskRef is what a task is about. The identifiers of different kinds of tasks never meet.
type taskRef struct {
	cluster *Cluster
	tenant  store.Tenant
	id      store.ID
}

// awaiting is what is wrong unless a task on the agenda will see to it.
type awaiting struct {
	finding Finding
	still   func(context.Context) (bool, error) // whether it is, now
}

// await notes what is wrong unless there is a task about it.
func (f *fsck) await(ctx context.Context, t store.Tenant, id store.ID, finding Finding, still func(context.Context) (bool, error)) error {
	ref := taskRef{f.cluster, t, id}
	if f.awaited[ref] != nil {
		return nil
	}
	f.awaited[ref] = &awaiting{finding, still}
	if len(f.awaited) < fsckAwaited {
		return nil
	}
	return f.readAgenda(ctx, nil)
}

// checkAgenda looks at every task, and with them at what they explain.
func (f *fsck) checkAgenda(ctx context.Context) error {
	nobody := make(map[store.Tenant]bool) // whether a tenant is not there; of the tenants seen last
	err := f.readAgenda(ctx, func(task *store.Task) error {
		f.checked.Tasks++
		f.progress("agenda", f.checked.Tasks)
		absent, known := nobody[task.Tenant]
		if !known {
			if len(nobody) >= maxHints {
				clear(nobody)
			}
			there, err := f.anybody(ctx, task.Tenant)
			if err != nil {
				return err
			}
			absent = !there
			nobody[task.Tenant] = absent
		}
		if !absent {
			return nil
		}
		tenant := task.Tenant
		return f.suspect(ctx, func(ctx context.Context) ([]Finding, error) {
			if there, err := f.anybody(ctx, tenant); there || err != nil {
				return nil, err
			}
			return []Finding{f.finding(TaskOrphan, whatTenant(tenant), "the agenda has tasks of a tenant that is not there")}, nil
		})
	})
	if err != nil {
		return err
	}
	return f.lookAgain(ctx)
}

// readAgenda reads the cluster's agenda and reports what is awaited and not on it. each is called with every task; nil = it is not.
func (f *fsck) readAgenda(ctx context.Context, each func(*store.Task) error) error {
	agenda, ok := f.cluster.Rows.(store.Agenda)
	if !ok {
		return errors.New("the cluster's store does not list its tasks")
	}
	var failed error
	err := agenda.Tasks(ctx, func(task store.Task) bool {
		f.explain(&task)
		if each != nil {
			failed = each(&task)
		}
		return failed == nil
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	return f.unexplained(ctx)
}

// explain forgets what a task will see to.
func (f *fsck) explain(task *store.Task) {
	if task.Kind == store.TaskPurge { // it deletes no row
		return
	}
	delete(f.awaited, taskRef{f.cluster, task.Tenant, task.ID})
	if task.Kind == store.TaskEraseSubject || task.Kind == store.TaskEraseTenant {
		delete(f.awaited, taskRef{f.cluster, task.Tenant, store.ID(task.Value)})
	}
	if task.Kind != store.TaskDeleteBlob || !strings.HasSuffix(string(task.ID), "/") {
		return
	}
	for ref := range f.awaited { // a whole write was abandoned, which is rare
		if ref.tenant == task.Tenant && strings.HasPrefix(string(ref.id), string(task.ID)) {
			delete(f.awaited, ref)
		}
	}
}

// unexplained reports what no task will see to, if it is wrong now too.
func (f *fsck) unexplained(ctx context.Context) error {
	if len(f.awaited) > 0 {
		if err := f.settle(ctx); err != nil {
			return err
		}
	}
	for ref, a := range f.awaited {
		if ref.cluster != f.cluster {
			continue
		}
		delete(f.awaited, ref)
		wrong, err := a.still(ctx)
		if err != nil {
			return err
		}
		if wrong {
			f.tell(a.finding)
		}
	}
	return nil
}

// anybody reports whether the cluster has rows of a tenant.
func (f *fsck) anybody(ctx context.Context, t store.Tenant) (there bool, err error) {
	err = f.view(ctx, store.Scope{Tenant: t}, func(tx store.Tx) (err error) {
		there, err = anyRows(tx)
		return err
	})
	return there, err
}

// anyRows reports whether a tenant has any row.
func anyRows(tx store.Tx) (there bool, err error) {
	for _, kind := range append([]store.Kind{store.KindTenant, store.KindStream}, tenantKinds...) {
		if there, err = anyRow(tx, kind, ""); there || err != nil {
			return there, err
		}
	}
	return false, nil
}
