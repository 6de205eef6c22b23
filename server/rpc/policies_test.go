package rpc

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/policy"
)

// revised gives the Swiss policy with another version and one text replaced.
func revised(t *testing.T, before, after string) []byte {
	t.Helper()
	text, ok := policy.Shipped("ch-2012-05-02.yaml")
	if !ok || !bytes.Contains(text, []byte(before)) {
		t.Fatalf("the shipped policy does not say %q", before)
	}
	text = bytes.Replace(text, []byte("version: ch-2012-05-02"), []byte("version: ch-next"), 1)
	return bytes.Replace(text, []byte(before), []byte(after), 1)
}

func TestComparePolicies(t *testing.T) {
	w := newWorld(t)
	policies := residencyv1.NewPolicyServiceClient(w.as(readCH))
	compare := func(req *residencyv1.ComparePoliciesRequest) (*residencyv1.ComparePoliciesResponse, error) {
		return policies.ComparePolicies(t.Context(), req)
	}
	same, err := compare(&residencyv1.ComparePoliciesRequest{Region: "ch", To: &residencyv1.ComparePoliciesRequest_ToVersion{ToVersion: "ch-2012-05-02"}})
	if err != nil || same.GetChanged() != 0 || same.GetCompared() == 0 || len(same.GetChanges()) != 0 || same.GetFromVersion() != "ch-2012-05-02" || same.GetEffectiveTime() == nil {
		t.Errorf("with itself: %v, %v", same, err)
	}
	text := revised(t, "purpose: MARKETING", "purpose: CREDIT_RISK")
	p, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	shipped, _ := policy.Shipped("ch-2012-05-02.yaml")
	now, err := policy.Parse(shipped)
	if err != nil {
		t.Fatal(err)
	}
	want := policy.Compare(now, p)
	got, err := compare(&residencyv1.ComparePoliciesRequest{Region: "ch", To: &residencyv1.ComparePoliciesRequest_Candidate{Candidate: text}})
	if err != nil || want.Changed == 0 || len(want.Voided) == 0 {
		t.Fatalf("%v; %d changes and %d voided shapes to tell", err, want.Changed, len(want.Voided))
	}
	if got.GetToVersion() != "ch-next" || int(got.GetChanged()) != want.Changed || len(got.GetChanges()) != len(want.Changes) || got.GetSummary() != want.String() {
		t.Errorf("got %d in %d groups, want %d in %d", got.GetChanged(), len(got.GetChanges()), want.Changed, len(want.Changes))
	}
	for i, c := range want.Changes {
		g := got.GetChanges()[i]
		if int(g.GetDirection()) != int(c.Direction) || g.GetAccesses() != c.Accesses || int(g.GetDecisions()) != c.Decisions || g.GetBefore() != c.Before || g.GetAfter() != c.After {
			t.Errorf("change %d: got %v, want %v", i, g, c)
		}
	}
	for i, v := range want.Voided {
		g := got.GetVoided()[i]
		if int(g.GetKind()) != int(v.Kind) || int(g.GetDataClass()) != int(v.DataClass) || g.GetTo() != v.To || int(g.GetPurpose()) != int(v.Purpose) || g.GetClause() != v.Clause {
			t.Errorf("voided %d: got %v, want %v", i, g, v)
		}
	}
}

func TestComparePoliciesRefusals(t *testing.T) {
	w := newWorld(t)
	policies := residencyv1.NewPolicyServiceClient(w.as(readCH))
	us, _ := policy.Shipped("us-2011-10-07.yaml")
	candidate := func(b []byte) *residencyv1.ComparePoliciesRequest_Candidate {
		return &residencyv1.ComparePoliciesRequest_Candidate{Candidate: b}
	}
	for name, tt := range map[string]struct {
		req           *residencyv1.ComparePoliciesRequest
		reason, field string
	}{
		"nothing to compare with": {&residencyv1.ComparePoliciesRequest{Region: "ch"}, "BAD_REQUEST", "to"},
		"an unknown version":      {&residencyv1.ComparePoliciesRequest{Region: "ch", To: &residencyv1.ComparePoliciesRequest_ToVersion{ToVersion: "none"}}, "NOT_FOUND", ""},
		"an unknown earlier one":  {&residencyv1.ComparePoliciesRequest{Region: "ch", FromVersion: "none", To: candidate(us)}, "NOT_FOUND", ""},
		"no policy":               {&residencyv1.ComparePoliciesRequest{Region: "ch", To: candidate([]byte("nonsense"))}, "BAD_REQUEST", "candidate"},
		"another country's":       {&residencyv1.ComparePoliciesRequest{Region: "ch", To: candidate(us)}, "BAD_REQUEST", "candidate"},
		"too large":               {&residencyv1.ComparePoliciesRequest{Region: "ch", To: candidate(make([]byte, 384<<10+1))}, "BAD_REQUEST", "candidate"},
	} {
		_, err := policies.ComparePolicies(t.Context(), tt.req)
		got := tell(err)
		var fields []string
		for _, v := range got.bad.GetFieldViolations() {
			fields = append(fields, v.GetField())
		}
		if got.reason != tt.reason || tt.field != "" && !slices.Contains(fields, tt.field) {
			t.Errorf("%s: %v with %v, want %s of %s", name, err, fields, tt.reason, tt.field)
		}
	}
}

// slow is a backend whose comparisons last until they are let go.
type slow struct {
	Backend
	inside, free chan struct{}
}

func (s *slow) ComparePolicies(gateway.ComparePolicies) (gateway.PoliciesCompared, error) {
	s.inside <- struct{}{}
	<-s.free
	return gateway.PoliciesCompared{}, nil
}

// Comparisons take turns, and one whose caller does not wait for its turn is not made.
func TestComparisonsTakeTurns(t *testing.T) {
	s := &slow{inside: make(chan struct{}), free: make(chan struct{})}
	w := newWorld(t, withBackend(func(b Backend) Backend { s.Backend = b; return s }))
	policies := residencyv1.NewPolicyServiceClient(w.as(readCH))
	req := &residencyv1.ComparePoliciesRequest{Region: "ch", To: &residencyv1.ComparePoliciesRequest_ToVersion{ToVersion: "any"}}
	result := make(chan error, 1)
	go func() {
		_, err := policies.ComparePolicies(context.Background(), req)
		result <- err
	}()
	<-s.inside
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := policies.ComparePolicies(ctx, req); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a second one: %v", err)
	}
	close(s.free)
	if err := <-result; err != nil {
		t.Error(err)
	}
	go func() {
		for { // the second one may still come to its turn before the server hears that it was given up
			select {
			case <-s.inside:
			case <-t.Context().Done():
				return
			}
		}
	}()
	if _, err := policies.ComparePolicies(t.Context(), req); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if log := w.log.String(); strings.Contains(log, "call failed") {
		t.Errorf("the log:\n%s", log)
	}
}
