package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/domicile-project/domicile/residency/policy"
)

type policyCheck struct {
	Files []string `arg:"" name:"file" help:"Policy files, or names of those that come with the program. No gateway is asked."`
}

// checked is what a check found, as programs read it.
type checked struct {
	File        string  `json:"file"`
	Version     string  `json:"version"`
	Digest      string  `json:"digest"`
	Rules       int     `json:"rules"`
	Cells       int     `json:"cells"`
	Allowed     int     `json:"allowed"`
	Conditional int     `json:"conditional"`
	Denied      int     `json:"denied"`
	Claims      []claim `json:"claims"`
}

type claim struct {
	Says       string `json:"says"`
	Clause     string `json:"clause,omitempty"`
	Holds      bool   `json:"holds"`
	Checked    int    `json:"checked"`
	Violations int    `json:"violations"`
	Example    string `json:"counter_example,omitempty"`
	Finding    string `json:"finding,omitempty"`
}

// Run proves what the files claim, and fails when anything does not hold.
func (c *policyCheck) Run(a *app) error {
	policies, err := parsePolicies(c.Files)
	if err != nil {
		return err
	}
	var results []checked
	violated := 0
	for i, p := range policies {
		r := newChecked(c.Files[i], p.Verify())
		results = append(results, r)
		for _, k := range r.Claims {
			if !k.Holds {
				violated++
			}
		}
	}
	if err := a.printChecked(results); err != nil {
		return err
	}
	a.noteVersions(policies)
	if violated > 0 {
		return fmt.Errorf("%d of what the files claim does not hold", violated)
	}
	return nil
}

func newChecked(file string, r policy.Report) checked {
	out := checked{
		File: file, Version: r.Version, Digest: r.Digest, Rules: r.Rules,
		Cells: r.Cells, Allowed: r.Allowed, Conditional: r.Conditional, Denied: r.Denied,
	}
	for _, c := range r.Claims {
		k := claim{Says: c.Says, Clause: c.Clause, Holds: c.Violations == 0, Checked: c.Checked, Violations: c.Violations, Finding: c.Finding}
		if c.Example != nil {
			k.Example = c.Example.String()
		}
		out.Claims = append(out.Claims, k)
	}
	return out
}

func (a *app) printChecked(results []checked) error {
	if a.flags.Output == "json" {
		return a.value(results)
	}
	for i, r := range results {
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		fmt.Fprintf(a.stdout, "%s: version %s, %s\n", r.File, r.Version, r.Digest)
		fmt.Fprintf(a.stdout, "%d rules decide %d cells: %d permitted outright, %d with requirements, %d refused\n\n",
			r.Rules, r.Cells, r.Allowed, r.Conditional, r.Denied)
		if err := printClaims(a, r.Claims); err != nil {
			return err
		}
	}
	return nil
}

func printClaims(a *app, claims []claim) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	writeRow(w, []string{"RESULT", "OVER", "CLAUSE", "CLAIM"})
	for _, k := range claims {
		result := "proven"
		if !k.Holds {
			result = "VIOLATED"
		}
		writeRow(w, []string{result, numberText(int64(k.Checked)), k.Clause, k.Says})
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, k := range claims {
		if k.Holds {
			continue
		}
		fmt.Fprintf(a.stdout, "\nviolated: %s\n  %d of %d contradict; for example\n  %s\n", k.Says, k.Violations, k.Checked, k.Finding)
	}
	return nil
}

// noteVersions says when files of one jurisdiction could not be in force one after the other.
func (a *app) noteVersions(policies []*policy.Policy) {
	byHome := make(map[string][]*policy.Policy)
	for _, p := range policies {
		home := p.Jurisdiction.String()
		byHome[home] = append(byHome[home], p)
		if err := policy.Check(byHome[home]); err != nil {
			fmt.Fprintln(a.stderr, "note: not both in one region:", err)
			return
		}
	}
}
