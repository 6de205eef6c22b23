package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// FsckOptions say what a check of the stores looks at. The zero value is all that can be looked at without reading drives.
type FsckOptions struct {
	// Region is the only region that is checked; "" = all that the gateway serves.
	Region residency.Region

	// Deep reads every blob that drives and snapshots refer to, and opens it under both layers.
	Deep bool

	// Settle is how long what looks wrong is left before it is looked at once more, in a transaction of its own; it is
	// reported only if it is wrong then too. It must be longer than a transaction takes where gateways
	// use the stores meanwhile. 0 = at once, for stores that nobody else uses.
	Settle time.Duration

	// Progress is told now and then how far the check is; nil = nobody is.
	Progress func(FsckProgress)

	blobSet  int // for tests: how many blobs are compared with what refers to them at once; 0 = maxBlobSet
	usageSet int // for tests: how many sums of usage are compared with the totals at once; 0 = usageKept
}

// FsckProgress is how far a check is.
type FsckProgress struct {
	Region  residency.Region
	Cluster string // "" = a phase of the whole region
	Phase   string // "log", "directory", "tenants", "blobs", "keys", "erased" or "agenda"
	Done    uint64 // entries, placements, tenants, blobs, keys, erasures or tasks so far
}

// FsckChecked is what a check came to: how much it looked at, and how many findings it reported.
type FsckChecked struct {
	Entries, Placements, Tenants, Rows, Blobs, Keys, Tasks uint64
	Damage, Leftovers                                      uint64
}

// Fsck checks rows, blobs, keys, the audit log, the directory and the agenda of the gateway's regions against each other, and
// calls report with everything that is wrong. It changes nothing; nothing of a plaintext leaves it, and a finding names
// everything by pseudonyms. Run must not be running. Beside gateways that serve from the same stores it reports
// nothing that is merely under way, provided that Settle is set.
//
// It holds in memory a page of rows, the drives and snapshots of one tenant, 16 bytes for each of at most four
// million blobs, 16,384 sums of usage, and what looks wrong, a hundred thousand at the most. An error says that the check did not come to its end: a
// store did not answer, or cannot be read.
func (g *Gateway) Fsck(ctx context.Context, o FsckOptions, report func(Finding)) (FsckChecked, error) {
	f := &fsck{g: g, o: o, report: report, told: make(map[Finding]bool), awaited: make(map[taskRef]*awaiting), blobSet: o.blobSet, seen: make(map[string][]seenLog)}
	if f.blobSet == 0 {
		f.blobSet = maxBlobSet
	}
	if o.Region != "" && g.region(o.Region) == nil {
		return f.checked, residency.Bad("gateway.Fsck", "region", "must be one of "+g.regionNames())
	}
	if err := f.readWitnesses(ctx); err != nil {
		return f.checked, residency.E("gateway.Fsck", residency.RegionUnavailable, err)
	}
	for i := range g.cfg.Regions {
		region := &g.cfg.Regions[i]
		if !f.checks(region) {
			continue
		}
		f.region = region
		if err := f.checkRegion(ctx); err != nil {
			return f.checked, residency.E("gateway.Fsck", residency.RegionUnavailable, fmt.Errorf("region %s: %w", region.Name, err))
		}
	}
	return f.checked, nil
}

// checks reports whether a region is to be checked.
func (f *fsck) checks(r *Region) bool { return f.o.Region == "" || f.o.Region == r.Name }

// fsck is one check.
type fsck struct {
	g       *Gateway
	o       FsckOptions
	report  func(Finding)
	checked FsckChecked

	region  *Region
	cluster *Cluster // nil in a phase of the whole region
	logSize uint64   // how many entries the cluster's tree holds

	told     map[Finding]bool // without their details: what was reported lately, so that it is reported once
	suspects []suspect
	awaited  map[taskRef]*awaiting
	blobSet  int // how many blobs are compared with what refers to them at once

	seen map[string][]seenLog // what the regions' witnesses know, by the log's origin
}

const (
	fsckPage     = 512     // rows that are held at once
	fsckSuspects = 4096    // what looks wrong, before it is looked at again
	fsckAwaited  = 100_000 // what a task on the agenda would explain, before the agenda is read
	maxBlobSet   = 4 << 20 // blobs that are compared with what refers to them at once
	fsckTold     = 100_000 // findings that are remembered
	fsckEvery    = 10_000  // how often progress is told
	fsckTimeout  = time.Minute
)

func (f *fsck) checkRegion(ctx context.Context) error {
	for i := range f.region.Clusters {
		f.cluster = &f.region.Clusters[i]
		for _, phase := range []func(context.Context) error{f.checkLog, f.checkPolicies, f.checkTenants, f.checkStrays} {
			if err := f.phase(ctx, phase); err != nil {
				return fmt.Errorf("cluster %s: %w", f.cluster.Name, err)
			}
		}
	}
	for _, phase := range []func(context.Context) error{f.checkDirectory, f.checkKeys, f.checkLedger} {
		f.cluster = nil
		if err := f.phase(ctx, phase); err != nil {
			return err
		}
	}
	for i := range f.region.Clusters {
		f.cluster = &f.region.Clusters[i]
		if err := f.checkAgenda(ctx); err != nil {
			return fmt.Errorf("cluster %s: %w", f.cluster.Name, err)
		}
	}
	return nil
}

// phase runs a part of the check to its end, with a second look at what it suspects.
func (f *fsck) phase(ctx context.Context, run func(context.Context) error) error {
	if err := run(ctx); err != nil {
		return err
	}
	return f.lookAgain(ctx)
}

// suspect is something that looked wrong: again says whether it is, and what.
type suspect struct {
	cluster *Cluster
	again   func(context.Context) ([]Finding, error)
}

// suspect notes that something looks wrong.
func (f *fsck) suspect(ctx context.Context, again func(context.Context) ([]Finding, error)) error {
	f.suspects = append(f.suspects, suspect{f.cluster, again})
	if len(f.suspects) < fsckSuspects {
		return nil
	}
	return f.lookAgain(ctx)
}

// lookAgain looks once more at all that looked wrong, after a moment, and reports what is.
func (f *fsck) lookAgain(ctx context.Context) error {
	list, cluster := f.suspects, f.cluster
	f.suspects = nil
	defer func() { f.cluster = cluster }()
	if len(list) > 0 {
		if err := f.settle(ctx); err != nil {
			return err
		}
	}
	for _, s := range list {
		f.cluster = s.cluster
		found, err := s.again(ctx)
		if err != nil {
			return err
		}
		for _, finding := range found {
			f.tell(finding)
		}
	}
	return nil
}

// settle waits until what was under way is done.
func (f *fsck) settle(ctx context.Context) error {
	wait := time.NewTimer(f.o.Settle)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// finding makes a finding of the region and cluster that are looked at.
func (f *fsck) finding(code FsckCode, what, detail string) Finding {
	out := Finding{Code: code, Region: f.region.Name, What: what, Detail: detail}
	if f.cluster != nil {
		out.Cluster = f.cluster.Name
	}
	return out
}

// tell reports a finding, once.
func (f *fsck) tell(finding Finding) {
	key := finding
	key.Detail = ""
	if strings.HasPrefix(key.What, "tenant ") { // which is in one cluster, whoever finds something about it
		key.Cluster = ""
	}
	if f.told[key] {
		return
	}
	if len(f.told) >= fsckTold {
		clear(f.told)
	}
	f.told[key] = true
	if finding.Code.Severity() == Damage {
		f.checked.Damage++
	} else {
		f.checked.Leftovers++
	}
	f.report(finding)
}

// progress tells how far a phase is.
func (f *fsck) progress(phase string, done uint64) {
	if f.o.Progress == nil || done%fsckEvery != 0 {
		return
	}
	p := FsckProgress{Region: f.region.Name, Phase: phase, Done: done}
	if f.cluster != nil {
		p.Cluster = f.cluster.Name
	}
	f.o.Progress(p)
}

// view runs a transaction that reads, of a tenant in the cluster that is looked at.
func (f *fsck) view(ctx context.Context, scope store.Scope, fn func(store.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, fsckTimeout)
	defer cancel()
	return f.cluster.Rows.View(ctx, scope, fn)
}

// has reads a row that may not be there.
func has(tx store.Tx, kind store.Kind, id store.ID) (value []byte, there bool, err error) {
	value, err = tx.Get(kind, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, false, nil
	}
	return value, err == nil, err
}
