package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/domicile-project/domicile/residency/audit/proof"
)

// verifiedReceipt is what was found out about a file of receipts, as programs read it.
type verifiedReceipt struct {
	File     string        `json:"file"`
	Verified bool          `json:"verified"`
	Error    string        `json:"error,omitempty"`
	Proofs   []provenEntry `json:"proofs,omitempty"`
	Lacks    []string      `json:"end_not_proved,omitempty"` // decisions
}

// provenEntry is an entry that is in a log.
type provenEntry struct {
	Entry proof.Entry `json:"entry"`
	Log   logHead     `json:"log"`
}

func (c *auditVerify) verifyReceipts(a *app, keys logKeys, witnesses []proof.Witness) error {
	var results []verifiedReceipt
	var failed []string
	for _, name := range c.Files {
		r := verifyReceipt(name, keys, witnesses)
		if !r.Verified {
			failed = append(failed, name)
		}
		results = append(results, r)
	}
	var err error
	if len(failed) > 0 {
		err = fmt.Errorf("%d of %d not verified", len(failed), len(results))
	}
	return a.printReceipts(results, strings.Join(failed, ", "), err)
}

func verifyReceipt(name string, keys logKeys, witnesses []proof.Witness) verifiedReceipt {
	r := verifiedReceipt{File: name}
	receipts, err := keys.receipts(name, witnesses)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	r.Verified, r.Lacks = true, lacking(receipts)
	for i := range receipts {
		r.Proofs = append(r.Proofs, provenEntry{receipts[i].Entry, headOf(&receipts[i].Checkpoint)})
	}
	return r
}

// lacking gives the decisions of which a file proves the beginning alone: what came of them had no entry yet, or was cut off.
func lacking(receipts []proof.Receipt) (out []string) {
	for i := range receipts {
		id := receipts[i].Entry.DecisionID
		ended := slices.ContainsFunc(receipts, func(r proof.Receipt) bool { return r.Entry.DecisionID == id && r.Entry.Phase == phaseEnded })
		if receipts[i].Entry.Phase == phaseIntent && !ended {
			out = append(out, id)
		}
	}
	return out
}

// receiptsFailure is what programs read when not all files are verified.
type receiptsFailure struct {
	verifyFailure
	Receipts []verifiedReceipt `json:"receipts"`
}

// printReceipts shows what was found, and gives on what failed, and where.
func (a *app) printReceipts(results []verifiedReceipt, where string, failed error) error {
	switch {
	case a.flags.Output == "json" && failed != nil:
		return a.shown(receiptsFailure{failureOf(where, failed), results}, failed)
	case a.flags.Output == "json":
		return a.value(results)
	}
	return errors.Join(a.receiptTable(results), failed)
}

func (a *app) receiptTable(results []verifiedReceipt) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, r := range results {
		if !r.Verified {
			fmt.Fprintf(w, "%s: NOT VERIFIED: %s\n", r.File, printable(r.Error))
			continue
		}
		fmt.Fprintf(w, "%s: verified\n", r.File)
		for _, id := range r.Lacks {
			fmt.Fprintf(w, "  Of decision %s it proves the beginning alone: how it ended had no entry yet, or was cut off.\n", id)
		}
		for i := range r.Proofs {
			if i > 0 {
				fmt.Fprintln(w)
			}
			for _, f := range provenFields(&r.Proofs[i]) {
				if f.value != "" {
					fmt.Fprintf(w, "  %s\t%s\n", f.name, printable(f.value))
				}
			}
		}
	}
	return w.Flush()
}

// provenFields are what a proof proves, for people.
func provenFields(p *provenEntry) []field {
	e := &p.Entry
	return append([]field{
		{"decision", e.DecisionID},
		{"place", fmt.Sprintf("%d of %d in the log %s", e.Place, p.Log.Size, p.Log.Origin)},
		{"time", e.Time.Format(time.RFC3339Nano)},
		{"phase", e.Phase},
		{"caller", e.Caller},
		{"method", methodText(e.Method)},
		{"outcome", outcomeText(e)},
		{"missing", strings.Join(e.Missing, ", ")},
		{"clause", e.Clause},
		{"policy", e.PolicyVersion},
		{"controller", e.Controller},
		{"way", wayText(e.From, e.To)},
		{"via", strings.Join(e.Via, ", ")},
		{"data", e.DataClass},
		{"purpose", e.Purpose},
		{"consents", consentsText(e)},
		{"order", e.OrderID},
		{"result", resultOf(e)},
	}, p.Log.witnessFields()...)
}

func outcomeText(e *proof.Entry) string {
	if e.Allow {
		return "ALLOWED"
	}
	return "DENIED: " + e.Reason
}

// consentsText says on whose word the consents rest: the log proves that they were named, not that they were given.
func consentsText(e *proof.Entry) string {
	if len(e.Consents) == 0 {
		return ""
	}
	text := strings.Join(e.Consents, ", ")
	if len(e.Consents) > 8 { // the one that the decision names, and as many more as an entry has room for
		text += " and perhaps more"
	}
	return text + ", as asserted by caller " + e.Caller
}

func resultOf(e *proof.Entry) string {
	parts := []string{e.End, e.Result}
	if e.Bytes > 0 {
		parts = append(parts, strconv.FormatUint(e.Bytes, 10)+" bytes")
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}
