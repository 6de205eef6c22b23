package main

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type auditEntries struct {
	TenantID string `arg:"" optional:"" name:"tenant" help:"The tenant. Without one, --region says whose entries."`
	Region   string `placeholder:"REGION" help:"All entries of this region, for who may see every tenant."`
	Cluster  string `placeholder:"CLUSTER" help:"Of this storage cluster of the region (default its only one)."`

	Since   past                        `placeholder:"TIME" help:"Only from then on: how long ago, such as 24h, a date such as 2026-01-31 for its beginning in UTC, or an RFC 3339 time."`
	Until   past                        `placeholder:"TIME" help:"Only before then, likewise."`
	Denied  bool                        `xor:"outcome" help:"Only what was denied."`
	Allowed bool                        `xor:"outcome" help:"Only what was allowed."`
	Reason  string                      `placeholder:"REASON" help:"Only calls that gave this reason, for example CROSS_BORDER_CONSENT_REQUIRED."`
	From    string                      `placeholder:"CC" help:"Only about data homed in this jurisdiction."`
	To      string                      `placeholder:"CC" help:"Only about data that would have reached this jurisdiction."`
	Caller  string                      `placeholder:"URI" help:"Only calls by exactly this identity."`
	Class   enum[residencyv1.DataClass] `placeholder:"CLASS" help:"Only accesses to this class of data: ${classes}."`
	Action  enum[residencyv1.Action]    `placeholder:"ACTION" help:"Only accesses of this kind: ${actions}."`
	Limit   int                         `placeholder:"N" help:"How many to list at the most (default all)."`
}

// Run lists the entries.
func (c *auditEntries) Run(a *app) error {
	req, err := c.request()
	if err != nil {
		return err
	}
	return a.call(func(g *client.Client) error {
		items, err := collect(c.Limit, g.AllEntries(a.ctx, req, a.decided()))
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		if len(items) == 0 && a.flags.Output != "json" {
			return a.note("no entry is like that")
		}
		return list(a, &residencyv1.ReadEntriesResponse{Entries: items}, items, entryColumns)
	})
}

func (c *auditEntries) request() (*residencyv1.ReadEntriesRequest, error) {
	req := &residencyv1.ReadEntriesRequest{
		Cluster: c.Cluster, StartTime: c.Since.timestamp(), EndTime: c.Until.timestamp(), Reason: c.reason(),
		FromJurisdiction: strings.ToUpper(c.From), ToJurisdiction: strings.ToUpper(c.To), Caller: c.Caller,
		DataClass: c.Class.value, Action: c.Action.value, PageSize: c.page(),
	}
	switch {
	case (c.TenantID == "") == (c.Region == ""):
		return nil, usagef("give either a tenant or --region, for all of a region's entries")
	case c.TenantID != "" && c.Cluster != "":
		return nil, usagef("--cluster goes with --region: a tenant is in one cluster")
	case c.Caller != "" && !strings.Contains(c.Caller, "://"):
		return nil, usagef("--caller: want an identity's URI, such as spiffe://domicile.local/ch/app-ch: entries know callers by nothing else")
	case c.Limit < 0:
		return nil, usagef("--limit: want a number of entries, or 0 for all")
	case c.TenantID != "":
		req.Log = &residencyv1.ReadEntriesRequest_TenantId{TenantId: c.TenantID}
	default:
		req.Log = &residencyv1.ReadEntriesRequest_Region{Region: c.Region}
	}
	switch {
	case c.Denied:
		req.Outcome = residencyv1.Outcome_OUTCOME_DENY
	case c.Allowed:
		req.Outcome = residencyv1.Outcome_OUTCOME_ALLOW
	}
	return req, nil
}

// reason takes a reason in any letter case.
func (c *auditEntries) reason() string {
	return strings.ToUpper(strings.ReplaceAll(c.Reason, "-", "_"))
}

// largestEntries is the most entries that a page may have.
const largestEntries = 10_000

func (c *auditEntries) page() int32 {
	if c.Limit == 0 || c.Limit > largestEntries {
		return largestEntries
	}
	return int32(c.Limit) //nolint:gosec // at most 10000
}

// past is a flag that takes a time, a date, or how long ago it was; the zero value is none.
type past struct{ time.Time }

// UnmarshalText reads how long ago, a date, which is its beginning in UTC, or an RFC 3339 time.
func (f *past) UnmarshalText(text []byte) error {
	if d, err := time.ParseDuration(string(text)); err == nil && d >= 0 {
		f.Time = time.Now().Add(-d)
		return nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, string(text)); err == nil {
			f.Time = t
			return nil
		}
	}
	return fmt.Errorf("want how long ago, such as 24h, a date such as 2026-01-31, which is its beginning in UTC, or a time such as 2026-01-31T00:00:00Z")
}

// timestamp gives the time as the wire has it; nil for none.
func (f past) timestamp() *timestamppb.Timestamp {
	if f.IsZero() {
		return nil
	}
	return timestamppb.New(f.Time)
}

var entryColumns = []column[*residencyv1.AuditEntry]{
	{"TIME", func(e *residencyv1.AuditEntry) string { return timeText(e.GetTime()) }},
	{"PLACE", func(e *residencyv1.AuditEntry) string { return numberText(e.GetPlace()) }},
	{"OUTCOME", entryOutcome},
	{"ACTION", func(e *residencyv1.AuditEntry) string { return enumText(e.GetAction()) }},
	{"CLASS", func(e *residencyv1.AuditEntry) string { return enumText(e.GetDataClass()) }},
	{"WAY", func(e *residencyv1.AuditEntry) string { return wayText(e.GetFromJurisdiction(), e.GetToJurisdiction()) }},
	{"METHOD", func(e *residencyv1.AuditEntry) string {
		method := methodText(e.GetMethod())
		return method[strings.LastIndex(method, "/")+1:]
	}},
	{"CALLER", (*residencyv1.AuditEntry).GetCaller},
	{"TENANT", func(e *residencyv1.AuditEntry) string { return shortPseudonym(e.GetTenantPseudonym()) }},
	{"SUBJECT", func(e *residencyv1.AuditEntry) string { return shortPseudonym(e.GetSubjectPseudonym()) }},
	{"BYTES", func(e *residencyv1.AuditEntry) string { return numberText(e.GetBytes()) }},
}

// entryOutcome says how it was decided and what came of it, as far as the entry tells.
func entryOutcome(e *residencyv1.AuditEntry) string {
	words := []string{enumText(e.GetOutcome())}
	if e.GetPhase() == residencyv1.EntryPhase_ENTRY_PHASE_INTENT && e.GetResult() == "" {
		words = append(words, "begun")
	}
	for _, word := range []string{e.GetEnd(), e.GetReason(), e.GetResult()} {
		if word != "" && word != words[len(words)-1] {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

// shortPseudonym is enough of one to tell a few apart; -o json has all of it.
func shortPseudonym(p string) string {
	if p == "" {
		return "-"
	}
	return p[:min(8, len(p))]
}
