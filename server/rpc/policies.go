package rpc

import (
	"context"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/policy"
)

// policyService translates PolicyService.
type policyService struct {
	residencyv1.UnsafePolicyServiceServer
	backend   policies
	comparing chan struct{} // holds a place for each comparison that runs
}

// comparisons is how many policies are compared at once: each takes a processor
// for as long as the files are large, a second and a half at the most.
const comparisons = 1

func newPolicyService(b policies) *policyService {
	return &policyService{backend: b, comparing: make(chan struct{}, comparisons)}
}

var _ residencyv1.PolicyServiceServer = (*policyService)(nil)

// ListPolicies lists the policy versions.
func (s *policyService) ListPolicies(_ context.Context, req *residencyv1.ListPoliciesRequest) (*residencyv1.ListPoliciesResponse, error) {
	list, err := s.backend.Policies(residency.Region(req.GetRegion()))
	if err != nil {
		return nil, err
	}
	out := &residencyv1.ListPoliciesResponse{}
	for _, p := range list {
		out.Policies = append(out.Policies, policyProto(p))
	}
	return out, nil
}

// GetPolicy gives a policy version and its file.
func (s *policyService) GetPolicy(_ context.Context, req *residencyv1.GetPolicyRequest) (*residencyv1.GetPolicyResponse, error) {
	p, file, err := s.backend.Policy(residency.Region(req.GetRegion()), req.GetVersion())
	if err != nil {
		return nil, err
	}
	return &residencyv1.GetPolicyResponse{Policy: policyProto(p), File: file}, nil
}

// Explain says how a kind of access is decided.
func (s *policyService) Explain(_ context.Context, req *residencyv1.ExplainRequest) (*residencyv1.ExplainResponse, error) {
	var r reading
	asked := gateway.Explain{
		Region:  residency.Region(req.GetRegion()),
		Version: req.GetVersion(),
		Query: policy.Query{
			Action:    residency.Action(req.GetAction()),
			DataClass: residency.DataClass(req.GetDataClass()),
			To:        r.jurisdiction("to_jurisdiction", req.GetToJurisdiction()),
			Purpose:   residency.Purpose(req.GetPurpose()),
			Source:    residency.Source(req.GetSource()),
			Recipient: residency.RecipientKind(req.GetRecipientKind()),
			Party:     residency.Party(req.GetParty()),
		},
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	e, p, err := s.backend.Explain(asked)
	if err != nil {
		return nil, err
	}
	out := &residencyv1.ExplainResponse{
		Outcome: outcome(e.Allow), Clause: e.Clause, Reason: reason(e.Reason), Explanation: e.Sentence,
		PolicyVersion: p.Version, PolicyDigest: p.Digest,
	}
	for _, d := range e.Requirements {
		out.Requirements = append(out.Requirements, &residencyv1.Requirement{
			Name: d.Requirement.String(), Clause: d.Clause, Reason: reason(d.Reason), Remedy: d.Remedy,
		})
	}
	return out, nil
}

// ComparePolicies says what becomes different from one version to another. It
// waits for its turn as long as the call may last.
func (s *policyService) ComparePolicies(ctx context.Context, req *residencyv1.ComparePoliciesRequest) (*residencyv1.ComparePoliciesResponse, error) {
	select {
	case s.comparing <- struct{}{}:
		defer func() { <-s.comparing }()
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil { // nobody waits for it any more
		return nil, err
	}
	c, err := s.backend.ComparePolicies(gateway.ComparePolicies{
		Region: residency.Region(req.GetRegion()), From: req.GetFromVersion(), To: req.GetToVersion(), Candidate: req.GetCandidate(),
	})
	if err != nil {
		return nil, err
	}
	return comparisonProto(&c), nil
}

func comparisonProto(c *gateway.PoliciesCompared) *residencyv1.ComparePoliciesResponse {
	d := &c.Difference
	out := &residencyv1.ComparePoliciesResponse{
		FromVersion: d.From, ToVersion: d.To, EffectiveTime: timestamp(d.Effective),
		Compared: int64(d.Compared), Changed: int64(d.Changed), Summary: d.String(),
	}
	for _, change := range d.Changes {
		out.Changes = append(out.Changes, &residencyv1.PolicyChange{
			Direction: residencyv1.ChangeDirection(change.Direction), Accesses: change.Accesses,
			Decisions: int64(change.Decisions), Before: change.Before, After: change.After,
		})
	}
	for _, v := range d.Voided {
		out.Voided = append(out.Voided, &residencyv1.VoidedConsents{
			Kind: residencyv1.ConsentKind(v.Kind), DataClass: residencyv1.DataClass(v.DataClass), To: v.To,
			Purpose: residencyv1.Purpose(v.Purpose), Clause: v.Clause,
		})
	}
	return out
}

func policyProto(v gateway.PolicyVersion) *residencyv1.Policy {
	out := &residencyv1.Policy{
		Region:        string(v.Region),
		Version:       v.Policy.Version,
		Digest:        v.Policy.Digest,
		Controller:    v.Policy.Controller,
		EffectiveTime: timestamp(v.Policy.Effective),
		Active:        v.Active,
	}
	for _, c := range v.Policy.Clauses {
		out.Clauses = append(out.Clauses, &residencyv1.PolicyClause{ClauseId: c.ID, Title: c.Title, Said: c.Said})
	}
	return out
}
