package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/audit/proof"
)

func day(d int32) *residencyv1.Date { return &residencyv1.Date{Year: 2026, Month: 3, Day: d} }

func total(d int32, class residencyv1.DataClass, direction residencyv1.TransferDirection, bytes, calls int64) *residencyv1.UsageTotal {
	return &residencyv1.UsageTotal{Date: day(d), DataClass: class, Direction: direction, Bytes: bytes, Calls: calls}
}

const (
	personal = residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION
	drives   = residencyv1.DataClass_DATA_CLASS_VIRTUAL_DRIVE_DATA
	wrote    = residencyv1.TransferDirection_TRANSFER_DIRECTION_WRITE
	read     = residencyv1.TransferDirection_TRANSFER_DIRECTION_READ
)

// someUsage is what was billed of three days, and the entries that say so.
func someUsage() (*residencyv1.GetUsageResponse, []proof.Entry) {
	at := func(d, hour int) time.Time { return time.Date(2026, 3, d, hour, 0, 0, 0, time.UTC) }
	return &residencyv1.GetUsageResponse{
			StartDate: day(1), EndDate: day(4), Region: "ch", Cluster: "ch-1", CountedFromPlace: 3, ThroughPlace: 20, OldestEntryPlace: 3,
			Totals: []*residencyv1.UsageTotal{
				total(1, personal, wrote, 100, 1), total(1, drives, read, 5000, 1), total(2, drives, read, 70, 1), total(2, drives, wrote, 900, 2), total(3, personal, read, 30, 1),
			},
		}, []proof.Entry{
			{Place: 2, Time: at(1, 0), Phase: "DECIDED", Allow: true, Action: "USE", DataClass: "PERSONAL_INFORMATION", Bytes: 1}, // before counting began
			{Place: 3, Time: at(1, 0), Phase: "DECIDED", Allow: true, Action: "COLLECT", DataClass: "PERSONAL_INFORMATION", Bytes: 100},
			{Place: 4, Time: at(1, 1), Phase: "INTENT", Allow: true, Action: "USE", DataClass: "VIRTUAL_DRIVE_DATA"},
			{Place: 5, Time: at(1, 2), Phase: "ENDED", Allow: true, Action: "USE", DataClass: "VIRTUAL_DRIVE_DATA", Bytes: 5000, End: "unknown", Result: "INTERNAL"},
			{Place: 6, Time: at(2, 0), Phase: "DECIDED", Action: "USE", DataClass: "VIRTUAL_DRIVE_DATA", Reason: "CROSS_BORDER_CONSENT_REQUIRED", Result: "CROSS_BORDER_CONSENT_REQUIRED"},
			{Place: 7, Time: at(2, 0), Phase: "DECIDED", Allow: true, Action: "USE", DataClass: "VIRTUAL_DRIVE_DATA", Result: "NOT_FOUND"},
			{Place: 8, Time: at(2, 1), Phase: "ENDED", Allow: true, Action: "USE", DataClass: "VIRTUAL_DRIVE_DATA", Bytes: 70, End: "cut", Result: "CONSENT_WITHDRAWN"},
			{Place: 9, Time: at(2, 2), Phase: "ENDED", Allow: true, Action: "COLLECT", DataClass: "VIRTUAL_DRIVE_DATA", Bytes: 400, End: "completed"},
			{Place: 10, Time: at(2, 2), Phase: "ENDED", Allow: true, Action: "COLLECT", DataClass: "VIRTUAL_DRIVE_DATA", Bytes: 500, End: "completed"},
			{Place: 11, Time: at(2, 3), Phase: "DECIDED", Allow: true, Action: "ERASE", DataClass: "PERSONAL_INFORMATION", Caller: "urn:domicile:sweep"},
			{Place: 12, Time: at(3, 23), Phase: "DECIDED", Allow: true, Action: "DISCLOSE", DataClass: "PERSONAL_INFORMATION", Bytes: 30},
			{Place: 13, Time: at(4, 0), Phase: "DECIDED", Allow: true, Action: "USE", DataClass: "PERSONAL_INFORMATION", Bytes: 7},  // after the last day
			{Place: 21, Time: at(3, 23), Phase: "DECIDED", Allow: true, Action: "USE", DataClass: "PERSONAL_INFORMATION", Bytes: 7}, // not counted yet
		}
}

func compared(t *testing.T, r *residencyv1.GetUsageResponse, list []proof.Entry) *verifiedUsage {
	t.Helper()
	s := newUsageSums(r)
	for i := range list {
		s.add(provenUse(&list[i]))
	}
	v, err := s.compare("acme", r)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The totals are the sums; a change of either is found, named and counted.
func TestUsageIsCompared(t *testing.T) {
	r, list := someUsage()
	if v := compared(t, r, list); !v.Verified || v.Bytes != 6100 || v.Calls != 6 || len(v.Differences) != 0 {
		t.Errorf("what is right gives %+v", v)
	}
	type changed func(r *residencyv1.GetUsageResponse, list []proof.Entry)
	for name, c := range map[string]struct {
		change changed
		want   usageDifference
	}{
		"a byte more is billed": {func(r *residencyv1.GetUsageResponse, _ []proof.Entry) { r.Totals[1].Bytes++ }, usageDifference{"2026-03-01", "VIRTUAL_DRIVE_DATA", "READ", 5001, 5000, 1, 1}},
		"a call less is billed": {func(r *residencyv1.GetUsageResponse, _ []proof.Entry) { r.Totals[3].Calls-- }, usageDifference{"2026-03-02", "VIRTUAL_DRIVE_DATA", "WRITE", 900, 900, 1, 2}},
		"a total is made up": {func(r *residencyv1.GetUsageResponse, _ []proof.Entry) {
			r.Totals = append(r.Totals, total(3, drives, read, 1, 0))
		}, usageDifference{"2026-03-03", "VIRTUAL_DRIVE_DATA", "READ", 1, 0, 0, 0}},
		"a total is missing":       {func(r *residencyv1.GetUsageResponse, _ []proof.Entry) { r.Totals = r.Totals[1:] }, usageDifference{"2026-03-01", "PERSONAL_INFORMATION", "WRITE", 0, 100, 0, 1}},
		"the log says a byte more": {func(_ *residencyv1.GetUsageResponse, list []proof.Entry) { list[10].Bytes++ }, usageDifference{"2026-03-03", "PERSONAL_INFORMATION", "READ", 30, 31, 1, 1}},
		"a stream is missing":      {func(_ *residencyv1.GetUsageResponse, list []proof.Entry) { list[3].Place = 99 }, usageDifference{"2026-03-01", "VIRTUAL_DRIVE_DATA", "READ", 5000, 0, 1, 0}},
		"a refusal carried bytes":  {func(_ *residencyv1.GetUsageResponse, list []proof.Entry) { list[4].Bytes = 3 }, usageDifference{"2026-03-02", "VIRTUAL_DRIVE_DATA", "READ", 70, 73, 1, 1}},
	} {
		r, list := someUsage()
		c.change(r, list)
		if v := compared(t, r, list); v.Verified || len(v.Differences) != 1 || v.Differences[0] != c.want {
			t.Errorf("%s: %+v, want %+v", name, v.Differences, c.want)
		}
	}
}

// Days of which entries were dropped cannot be added up again: they are left out, and when they are all, nothing is said.
func TestDroppedDaysAreLeftOut(t *testing.T) {
	r, list := someUsage()
	x := &exportedEntries{log: "logs"}
	for _, c := range []struct {
		first int // of list, that the log still has
		left  string
		equal bool
	}{{1, "", true}, {3, "2026-03-01", true}, {8, "2026-03-02", true}} {
		s := newUsageSums(r)
		for i := c.first; i < len(list); i++ {
			s.add(provenUse(&list[i]))
		}
		if err := x.covers(s, 21, &list[c.first], &list[12]); err != nil {
			t.Fatal(err)
		}
		v, err := s.compare("acme", r)
		if err != nil || v.Verified != c.equal || v.LeftOut != c.left {
			t.Errorf("from place %d on: left out %q, verified %v (%v), want %q, %v", list[c.first].Place, v.LeftOut, v.Verified, err, c.left, c.equal)
		}
	}
	s := newUsageSums(r)
	if err := x.covers(s, 21, &list[10], &list[12]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.compare("acme", r); err == nil || !strings.Contains(err.Error(), "later days") {
		t.Errorf("of no day everything is there: %v", err)
	}
	r.OldestEntryPlace, r.OldestEntryTime = 6, timestamppb.New(list[4].Time)
	if v := compared(t, r, list[4:]); !v.Verified || v.LeftOut != "2026-03-02" {
		t.Errorf("of what the gateway dropped: %+v", v)
	}
}

// A log that was exported before the last entries were counted does for days that were over then, and for no others.
func TestAnExportMustHaveWhatIsCounted(t *testing.T) {
	r, list := someUsage()
	x := &exportedEntries{log: "logs"}
	later := proof.Entry{Place: 19, Time: time.Date(2026, 3, 4, 0, 1, 0, 0, time.UTC)}
	for _, c := range []struct {
		size int64
		last *proof.Entry
		ok   bool
	}{{20, &list[10], true}, {19, &list[10], false}, {19, &list[11], false}, {19, &later, true}} {
		if err := x.covers(newUsageSums(r), c.size, &list[1], c.last); (err == nil) != c.ok {
			t.Errorf("a log of %d entries until %v: %v", c.size, c.last.Time, err)
		}
	}
}
