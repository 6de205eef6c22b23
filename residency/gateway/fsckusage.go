package gateway

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

// usageCheck adds up what a cluster's log says, while its entries are looked at, to compare the totals with it.
//
// Totals only grow, and only by entries. So at any later moment a total is at least the sum of the entries that were counted when
// the check began; and it is just that sum if nothing was counted since and no entry is missing from the sum.
type usageCheck struct {
	state  usageState
	known  bool // the state could be read
	sums   map[store.ID]dayUsage
	whole  bool   // every entry that is counted is in the sums
	newest uint32 // the last day of which there is an entry
}

const whatUsage = "the usage totals"

// openUsage reads how far the log is counted.
func (l *logCheck) openUsage(ctx context.Context) (err error) {
	u := &l.usage
	u.sums, u.whole = make(map[store.ID]dayUsage), true
	u.state, err = l.cluster.usageNow(ctx)
	switch {
	case err == nil:
		u.known = true
	case errors.Is(err, errUsageLost):
		l.log(UsageStateMissing, whatUsage, errUsageLost.Error())
	case residency.KindOf(err) == residency.IntegrityFailure:
		l.log(UsageDamaged, whatUsage, "the row that says how far the log is counted is damaged: "+err.Error())
	default:
		return err
	}
	return nil
}

// checkState looks whether how far the log is counted fits the log. The state was read after first, and before the log's.
func (l *logCheck) checkState(first uint64) {
	u := &l.usage
	if !u.known {
		return
	}
	s := u.state
	switch {
	case s == usageState{} && first > 1:
		l.log(UsageStateMissing, whatUsage, "no entry is counted, and some were dropped, which is done only with what is counted")
	case s == usageState{}:
	case s.From == 0 || s.From > s.Through:
		l.log(UsageDamaged, whatUsage, fmt.Sprintf("entries %d to %d are said to be counted", s.From, s.Through))
		u.known = false
	case first < s.From:
		l.log(UsageDamaged, whatUsage, fmt.Sprintf("entries are counted from place %d, and the log begins at %d", s.From, first))
	}
	if l.kept && s.Through > l.state.Signed {
		l.log(UsageDamaged, whatUsage, fmt.Sprintf("entries are counted up to place %d, and the newest checkpoint holds %d", s.Through, l.state.Signed))
	}
}

// add takes an entry into the sums.
func (l *logCheck) add(ctx context.Context, place uint64, e *audit.Entry) error {
	u := &l.usage
	u.newest = max(u.newest, dayOf(e.Time))
	if !u.known || place < u.state.From || place > u.state.Through {
		return nil
	}
	if err := addVolume(u.sums, e); err != nil { // as counting would: an entry of a form that none has
		u.whole = false
	}
	if most := cmp.Or(l.o.usageSet, usageKept); len(u.sums) <= most {
		return nil
	}
	u.whole = false
	err := l.compareSums(ctx)
	clear(u.sums)
	return err
}

// checkUsage compares the totals with the sums.
func (l *logCheck) checkUsage(ctx context.Context) error {
	u := &l.usage
	u.whole = u.whole && u.known && l.first <= max(u.state.From, 1) && l.last >= u.state.Through
	if err := l.compareSums(ctx); err != nil {
		return err
	}
	after, more := store.ID(""), true
	for more {
		var page []foundRow
		var same bool
		err := l.view(ctx, usageScope, func(tx store.Tx) (err error) {
			if same, err = l.uncounted(tx); err != nil {
				return err
			}
			page, err = scanPage(tx, store.KindUsage, after)
			return err
		})
		if err != nil {
			return err
		}
		for _, r := range page {
			after = r.id
			l.checkTotal(r, same)
		}
		more = len(page) == fsckPage
	}
	return nil
}

// uncounted reports whether nothing was counted since the check began.
func (l *logCheck) uncounted(tx store.Tx) (bool, error) {
	s, err := readUsageState(tx)
	if residency.KindOf(err) == residency.IntegrityFailure { // which is reported
		return false, nil
	}
	return err == nil && s == l.usage.state, err
}

func whatTotal(id store.ID) string { return "the usage total " + hex.EncodeToString([]byte(id)) }

// checkTotal looks at the row of a total by itself. same is true when nothing was counted meanwhile.
func (l *logCheck) checkTotal(r foundRow, same bool) {
	if r.id == "" {
		return
	}
	l.checked.Rows++
	day, err := usageDay(r.id)
	if err == nil {
		_, err = decodeUsage(r.value)
	}
	today := dayOf(l.cluster.Rows.Now())
	_, summed := l.usage.sums[r.id]
	switch {
	case err != nil:
		l.log(UsageDamaged, whatTotal(r.id), err.Error())
	case day > max(today, l.usage.newest)+1:
		l.log(UsageDamaged, whatTotal(r.id), "it is of a day that has not come")
	case l.usage.whole && same && !summed:
		l.log(UsageDiffers, whatTotal(r.id), "no entry is of that tenant and day")
	}
}

// compareSums compares what the entries come to with the totals.
func (l *logCheck) compareSums(ctx context.Context) error {
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(l.usage.sums)), fsckPage) {
		var found []Finding
		err := l.view(ctx, usageScope, func(tx store.Tx) error {
			found = nil
			same, err := l.uncounted(tx)
			for i := 0; err == nil && i < len(ids); i++ {
				var finding *Finding
				if finding, err = l.compareSum(tx, ids[i], same); finding != nil {
					found = append(found, *finding)
				}
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, finding := range found {
			l.tell(finding)
		}
	}
	return nil
}

// compareSum compares a sum with its total; nil = they fit.
func (l *logCheck) compareSum(tx store.Tx, id store.ID, same bool) (*Finding, error) {
	b, there, err := has(tx, store.KindUsage, id)
	if err != nil {
		return nil, err
	}
	total, err := decodeUsage(b)
	sum := l.usage.sums[id]
	detail := ""
	switch {
	case !there:
		detail = "there is none, and entries of that tenant and day are counted"
	case err != nil: // which is reported
	case total.below(&sum):
		detail = "it is less than its entries come to"
	case l.usage.whole && same && total != sum:
		detail = "it is more than its entries come to"
	}
	if detail == "" {
		return nil, nil //nolint:nilnil // nothing is wrong
	}
	finding := l.finding(UsageDiffers, whatTotal(id), detail)
	return &finding, nil
}

// below reports whether anything of a day is less than in another.
func (u *dayUsage) below(other *dayUsage) bool {
	for class := range u {
		for d, v := range u[class] {
			if v.Bytes < other[class][d].Bytes || v.Calls < other[class][d].Calls {
				return true
			}
		}
	}
	return false
}
