package gateway

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/domicile-project/domicile/residency"
)

// slowly takes one piece of a person's file and, before the next, deletes the 20 records that the
// desk was crowded with and waits for ten minutes.
func (d *desk) slowly(left *int) {
	if *left++; *left > 1 {
		return
	}
	for i := range 20 {
		d.ok(d.g.DeleteRecord(d.t.Context(), as(d.at, "DeleteRecord", residency.Erase, residency.PersonalInformation),
			DeleteRecord{Tenant: d.id, Subject: "s1", Record: fmt.Sprintf("n%03d", i)}))
	}
	time.Sleep(10 * time.Minute)
}

// Who takes a disclosure slowly gets nothing that was deleted more than a lease before.
func TestAttackSlowDisclosure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.crowd(20)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = d.g.Run(ctx) }()
		d.register(aRecipient("r", residency.Agent, ch, contacts(residency.Payments)))
		req := to("r", residency.Payments)
		req.Tenant = d.id
		left := 0
		d.ok(d.g.Disclose(ctx, as(ch, "Disclose", residency.Disclose, residency.PersonalInformation), req, func(DisclosePiece) error {
			d.slowly(&left)
			return nil
		}))
		if row := d.disclosures(ListDisclosures{})[0]; left > 2 || row.Records != uint64(left) || row.End != "completed" { //nolint:gosec // few
			t.Errorf("%d records left, on record are %+v", left, row)
		}
	})
}

// Who takes an export slowly gets nothing that was deleted more than a lease before, and all else once.
func TestAttackSlowExport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, ch)
		d.crowd(20)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = d.g.Run(ctx) }()
		left, seen := 0, map[string]int{}
		_, _, err := d.export(ch, d.id, "s1", func(p FilePiece) error {
			switch {
			case p.Record != nil:
				seen[p.Record.ID]++
				d.slowly(&left)
			case p.Decision != nil:
				seen[p.Decision.Decision.ID]++
				time.Sleep(2 * time.Second)
			}
			return nil
		})
		d.ok(err)
		if left > 3 || seen["r1"] != 1 || seen["r2"] != 1 {
			t.Errorf("%d records left: %v", left, seen)
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s left %d times", id, n)
			}
		}
		if decisions := len(seen) - left; decisions < 42 { // 22 writes and 20 deletions of s1's records
			t.Errorf("%d decisions left", decisions)
		}
	})
}
