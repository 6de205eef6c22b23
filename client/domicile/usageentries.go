package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/audit/proof"
)

// entrySource is where a tenant's entries are read.
type entrySource interface {
	// read adds every entry of the tenant that can count, and says what it cannot add any more.
	read(a *app, g *client.Client, tenant string, s *usageSums) error
}

const (
	// skew is by how much an entry may be older than one that stands before it.
	skew = time.Minute

	// longestCall is how long before its end a stream was decided at the most, and somewhat more, unless nothing ran that
	// could write that it had ended.
	longestCall = 25 * time.Hour
)

// exportedEntries are those of a log that was handed over.
type exportedEntries struct {
	log        string
	keys       logKeys
	remembered []proof.Checkpoint
	pseudonym  string // of the tenant; "" = the gateway is asked
}

func (x *exportedEntries) read(a *app, g *client.Client, tenant string, s *usageSums) error {
	if x.pseudonym == "" {
		var err error
		if x.pseudonym, err = a.pseudonymOf(g, tenant); err != nil {
			return err
		}
	}
	src, end, err := logSource(x.log)
	if err != nil {
		return err
	}
	defer end()
	bar := newProgress(a.stderr, "", -1)
	defer bar.end()
	var first, last proof.Entry
	r, err := x.keys.verify(a.ctx, src, proof.Options{Remembered: x.remembered, Each: func(e *proof.Entry) error {
		if first.Place == 0 {
			first = *e
		}
		last = *e
		if e.Place%4096 == 0 {
			bar.text(fmt.Sprintf("%d entries", e.Place))
		}
		if e.Tenant == x.pseudonym {
			s.add(provenUse(e))
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("%s is not verified: %s", x.log, printable(err.Error()))
	}
	if !strings.HasSuffix(r.Checkpoint.Origin, "/"+s.log) {
		return fmt.Errorf("%s is the log %s, and what is billed is counted from that of %s", x.log, printable(r.Checkpoint.Origin), s.log)
	}
	s.where = fmt.Sprintf("the log %s of %d entries, verified by its key alone", r.Checkpoint.Origin, r.Checkpoint.Size)
	return x.covers(s, int64(r.Checkpoint.Size), &first, &last) //nolint:gosec // at most 2^62
}

// covers refuses a log that has not all the entries that were counted: one that was exported before they were made,
// unless the days that are asked for were over then. Of those that were dropped the days are left out.
func (x *exportedEntries) covers(s *usageSums, size int64, first, last *proof.Entry) error {
	if size < s.through && last.Time.Before(s.end.Add(skew)) {
		return fmt.Errorf("%s has %d entries, and %d are counted: export the log again, or ask with --to for days that were over when it was exported", x.log, size, s.through)
	}
	if s.kept = (time.Time{}); int64(first.Place) > s.from { //nolint:gosec // at most 2^62
		s.kept = first.Time.Add(skew)
	}
	return nil
}

func provenUse(e *proof.Entry) *usedEntry {
	return &usedEntry{
		place: int64(e.Place), time: e.Time, last: e.Phase != "INTENT", stream: e.Phase == "ENDED", allow: e.Allow, caller: e.Caller, //nolint:gosec // at most 2^62
		action: residencyv1.Action(residencyv1.Action_value["ACTION_"+e.Action]), class: residencyv1.DataClass(residencyv1.DataClass_value["DATA_CLASS_"+e.DataClass]),
		result: e.Result, bytes: e.Bytes,
	}
}

// gatewayEntries are those that the gateway gives, which finds them by when they were decided.
type gatewayEntries struct {
	all bool // however long ago
}

func (x gatewayEntries) read(a *app, g *client.Client, tenant string, s *usageSums) error {
	bar := newProgress(a.stderr, "", -1)
	defer bar.end()
	n := int64(0)
	req := &residencyv1.ReadEntriesRequest{
		Log: &residencyv1.ReadEntriesRequest_TenantId{TenantId: tenant}, EndTime: timestamppb.New(s.end.Add(skew)), PageSize: entriesPage,
	}
	if !x.all {
		req.StartTime = timestamppb.New(s.start.Add(-longestCall))
	}
	for e, err := range g.AllEntries(a.ctx, req) {
		if err != nil {
			return a.entriesRefused(err, tenant)
		}
		n++
		bar.text(fmt.Sprintf("%d entries", n))
		s.add(givenUse(e))
	}
	s.where = "the entries that the gateway has, on its word"
	return nil
}

// entriesPage is how many entries a call gives at the most.
const entriesPage = 10_000

// entriesRefused says which permissions it takes when one is missing.
func (a *app) entriesRefused(err error, tenant string) error {
	var failure *client.Error
	if errors.As(err, &failure) && failure.Reason == "CALLER_NOT_PERMITTED" {
		a.decision = "" // that of the totals
		if err := a.note("comparing takes usage.read for what is billed, and audit.read, at the tenant's home, for the entries of the log"); err != nil {
			return err
		}
	}
	return a.about(err, tenant, "")
}

func givenUse(e *residencyv1.AuditEntry) *usedEntry {
	return &usedEntry{
		place: e.GetPlace(), time: e.GetTime().AsTime(),
		last:   e.GetPhase() != residencyv1.EntryPhase_ENTRY_PHASE_INTENT,
		stream: e.GetPhase() == residencyv1.EntryPhase_ENTRY_PHASE_ENDED,
		allow:  e.GetOutcome() == residencyv1.Outcome_OUTCOME_ALLOW, caller: e.GetCaller(),
		action: e.GetAction(), class: e.GetDataClass(), result: e.GetResult(), bytes: uint64(e.GetBytes()), //nolint:gosec // never negative
	}
}

// pseudonymOf asks for the newest entry about a tenant, which names its pseudonym: there is one, of the call for its totals.
func (a *app) pseudonymOf(g *client.Client, tenant string) (string, error) {
	req := &residencyv1.ReadEntriesRequest{Log: &residencyv1.ReadEntriesRequest_TenantId{TenantId: tenant}, PageSize: 1}
	for e, err := range g.AllEntries(a.ctx, req) {
		if err != nil {
			return "", a.entriesRefused(err, tenant)
		}
		if p := e.GetTenantPseudonym(); pseudonymForm.MatchString(p) {
			return p, nil
		}
		break
	}
	return "", errors.New("the log has no entry about the tenant by which its pseudonym could be learnt: give --pseudonym")
}
