package gateway

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/audit/proof"
	"github.com/domicile-project/domicile/residency/policy"
	"github.com/domicile-project/domicile/residency/store"
)

// ownRows calls look with every row of a kind that is the cluster's own.
func (f *fsck) ownRows(ctx context.Context, kind store.Kind, look func(foundRow)) error {
	after, more := store.ID(""), true
	for more {
		var page []foundRow
		err := f.view(ctx, store.Scope{}, func(tx store.Tx) (err error) {
			page, err = scanPage(tx, kind, after)
			return err
		})
		if err != nil {
			return err
		}
		for _, r := range page {
			f.checked.Rows++
			look(r)
			after = r.id
		}
		more = len(page) == fsckPage
	}
	return nil
}

// seenLog is what a witness has seen of a log.
type seenLog struct {
	by   residency.Region
	size uint64
	head tlog.Hash
}

// readWitnesses looks at what the witnesses of the regions that are checked know of other logs, and keeps it, for the logs
// that are checked later: what a log had when it was cosigned it has for good.
func (f *fsck) readWitnesses(ctx context.Context) error {
	for i := range f.g.cfg.Regions {
		f.region = &f.g.cfg.Regions[i]
		if !f.checks(f.region) {
			continue
		}
		f.cluster = &f.region.Clusters[0]
		known := f.ownRows(ctx, store.KindWitnessed, f.readWitness)
		forgotten := f.ownRows(ctx, store.KindForgotten, f.readForgotten)
		if err := errors.Join(known, forgotten); err != nil {
			return fmt.Errorf("region %s: cluster %s: %w", f.region.Name, f.cluster.Name, err)
		}
	}
	f.cluster = nil
	return nil
}

// readWitness keeps what is known of a log.
func (f *fsck) readWitness(r foundRow) {
	w, origin, err := readSeen(r.value)
	if err == nil && witnessedRow(residency.Region(w.Of), origin) != r.id {
		err = errors.New("it is in another log's place")
	}
	if err != nil {
		f.tell(f.finding(WitnessDamaged, "what is known of another region's log, "+hex.EncodeToString([]byte(r.id)), err.Error()))
		return
	}
	f.seen[origin] = append(f.seen[origin], seenLog{f.region.Name, w.Size, w.Head})
}

// readForgotten looks at what was known of a log that the witness was made to forget: evidence, against which nothing is compared.
func (f *fsck) readForgotten(r foundRow) {
	w, origin, err := readSeen(r.value)
	log, ok := strings.CutPrefix(string(r.id), string(witnessedRow(residency.Region(w.Of), origin)))
	if err == nil && (!ok || log != string(binary.BigEndian.AppendUint64(nil, uint64(w.Forgotten.UnixNano())))) { //nolint:gosec // after 1970
		err = errors.New("it is in the place of another log, or of another time")
	}
	if err != nil {
		f.tell(f.finding(WitnessDamaged, "what was known of a log that was forgotten, "+hex.EncodeToString([]byte(r.id)), err.Error()))
	}
}

// readSeen reads what is known of a log, and gives its origin.
func readSeen(b []byte) (w witnessed, origin string, err error) {
	if err = decodeRow(b, &w); err == nil && w.Key == "" {
		err = errors.New("it names no log")
	}
	if err == nil {
		origin, err = w.seenOf()
	}
	return w, origin, err
}

// seenOf gives the origin of the log, if the checkpoint that was seen last is the log's and of the size and root that are kept with it.
func (w *witnessed) seenOf() (origin string, err error) {
	key, err := proof.ParseKey(w.Key)
	if err != nil {
		return "", fmt.Errorf("the log's key: %w", err)
	}
	shown, err := key.OpenCheckpoint(w.Seen)
	if err == nil && (shown.Size != w.Size || shown.Root != w.Head) {
		err = errors.New("the checkpoint is of another size or root than those that are kept with it")
	}
	return key.Origin(), err
}

// openSeen finds what witnesses have seen of the log that is checked.
func (l *logCheck) openSeen() {
	if l.cluster.Signer == nil {
		return
	}
	l.witnessed = slices.Clone(l.seen[l.cluster.Signer.Name()])
	slices.SortFunc(l.witnessed, func(a, b seenLog) int { return int(min(a.size, 1<<62)) - int(min(b.size, 1<<62)) }) //nolint:gosec // bounded
	for _, s := range l.witnessed {
		if s.size > l.state.Size {
			l.log(WitnessDiffers, "", fmt.Sprintf("the witness of region %s has seen %d entries, the tree holds %d: the log went back", s.by, s.size, l.state.Size))
		}
	}
}

// compareSeen compares the tree with what witnesses have seen of it, where it goes as far.
func (l *logCheck) compareSeen() {
	for len(l.witnessed) > 0 && l.witnessed[0].size <= l.tree.Size {
		s := l.witnessed[0]
		l.witnessed = l.witnessed[1:]
		if s.size == l.tree.Size && l.tree.Root() != s.head {
			l.log(WitnessDiffers, "", fmt.Sprintf("the tree over the %d entries has another root than the one that the witness of region %s has seen", s.size, s.by))
		}
	}
}

// checkPolicies looks at what the cluster knows of policy versions.
func (f *fsck) checkPolicies(ctx context.Context) error {
	recorded := f.ownRows(ctx, store.KindPolicy, func(r foundRow) {
		row, err := readPolicy(r.value)
		switch {
		case err != nil:
		case store.ID(row.Version) != r.id:
			err = errors.New("it is in another version's place")
		case row.Recorded.IsZero() || row.Effective.After(row.Recorded):
			err = errors.New("it is recorded as in force before it was")
		}
		if err != nil {
			f.tell(f.finding(PolicyDamaged, "the policy version "+hex.EncodeToString([]byte(r.id)), err.Error()))
			return
		}
		f.compareFile(&row)
	})
	announced := f.ownRows(ctx, store.KindAnnounced, func(r foundRow) {
		row, err := readPolicy(r.value)
		if err == nil && (announcementID(&row) != r.id || row.Announced.IsZero()) {
			err = errors.New("it is another's, or nobody announced it")
		}
		if err != nil {
			f.tell(f.finding(PolicyDamaged, "the announcement of a policy version "+hex.EncodeToString([]byte(r.id)), err.Error()))
		}
	})
	return errors.Join(recorded, announced)
}

func readPolicy(b []byte) (r policyRow, err error) {
	if err = decodeRow(b, &r); err == nil && (r.Version == "" || r.Digest == "") {
		err = errors.New("it has no version or no digest")
	}
	return r, err
}

// compareFile compares a version that was in force with its file. Versions without a file here are others' to compare.
func (f *fsck) compareFile(r *policyRow) {
	i := slices.IndexFunc(f.region.Policies, func(p *policy.Policy) bool { return p.Version == r.Version })
	if i >= 0 && f.region.Policies[i].Digest != r.Digest {
		f.tell(f.finding(PolicyDiffers, "the policy version "+r.Version, fmt.Sprintf(
			"it was in force with digest %s, and its file has %s", r.Digest, f.region.Policies[i].Digest)))
	}
}

// stateLost looks for what cannot be there if the log never had a tree: when its state is not there, it is lost. The first
// tiles alone say nothing: a leader may have died between them and its first transaction.
func (l *logCheck) stateLost(ctx context.Context) (why string, err error) {
	switch {
	case l.first > 1:
		return fmt.Sprintf("entries before place %d were dropped, which is done only with what the tree holds", l.first), nil
	case l.usage.state.Through > 0:
		return fmt.Sprintf("entries up to place %d are counted, which is done only with what the tree holds", l.usage.state.Through), nil
	}
	early := make(map[string]bool)
	for n := range uint64(logBatch / audit.TileWidth) {
		early[tileBlob(0, n)] = true
	}
	err = l.cluster.Blobs.List(ctx, tilePrefix, func(name string) bool {
		if !early[name] {
			why = "there are tiles that only a tree has which goes further than its first transaction"
		}
		return why == ""
	})
	return why, err
}
