package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/audit/proof"
)

type auditReceipt struct {
	TenantID   string `arg:"" name:"tenant" help:"The tenant."`
	DecisionID string `arg:"" name:"decision" help:"The decision."`
	File       string `arg:"" optional:"" default:"-" help:"The file to write, which must not exist; NAME.tlog-proof is customary (default the standard output)."`
}

// Run keeps a decision's receipt.
func (c *auditReceipt) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Audit.GetReceipt(a.ctx, &residencyv1.GetReceiptRequest{TenantId: c.TenantID, DecisionId: c.DecisionID})
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.writeFile(c.File, func(w io.Writer) error {
			_, err := w.Write(r.GetReceipt())
			return err
		})
	})
}

// logArgs name a log.
type logArgs struct {
	Region  string `arg:"" name:"region" help:"The region."`
	Cluster string `placeholder:"CLUSTER" help:"The storage cluster (default the region's only one)."`
}

type auditCheckpoint struct {
	logArgs
	File string `arg:"" optional:"" default:"-" help:"The file to write, which must not exist (default the standard output)."`
}

// Run keeps the newest checkpoint of a log.
func (c *auditCheckpoint) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Audit.GetCheckpoint(a.ctx, &residencyv1.GetCheckpointRequest{Region: c.Region, Cluster: c.Cluster})
		if err != nil {
			return err
		}
		if c.File == "-" && a.flags.Output == "json" {
			return a.json(r)
		}
		err = a.writeFile(c.File, func(w io.Writer) error {
			_, err := w.Write(r.GetCheckpoint())
			return err
		})
		if err != nil {
			return err
		}
		return a.note(checkpointText(r))
	})
}

// checkpointText says of a checkpoint who signed it, and by which key.
func checkpointText(r *residencyv1.GetCheckpointResponse) string {
	text := fmt.Sprintf("%d entries, %d waiting; signed at %s, cosigned", r.GetSize(), r.GetPending(), timeText(r.GetSignTime()))
	for _, line := range cosignedLines(r) {
		text += "\n  " + printable(line)
	}
	return text + "\nthe log's key is\n" + printable(r.GetVerifierKey())
}

// cosignedLines say who cosigned a checkpoint, as far as its key and the log's own word for its witnesses tell.
func cosignedLines(r *residencyv1.GetCheckpointResponse) []string {
	key, err := proof.ParseKey(r.GetVerifierKey())
	if err != nil {
		return []string{"who cosigned cannot be told: " + err.Error()}
	}
	c, err := key.OpenCheckpoint(r.GetCheckpoint())
	if err != nil {
		return []string{"who cosigned cannot be told by the key that the gateway gives: " + err.Error()}
	}
	head := headOf(&c)
	var out []string
	for _, w := range head.Cosigned {
		out = append(out, "by "+w.text())
	}
	switch {
	case len(head.Cosigned) == 0:
		out = append(out, "by nobody but the log's own operator")
	case slices.Equal(head.Witness, []string{"self"}):
		out = append(out, "by nobody else")
	}
	for _, w := range head.Unverified {
		out = append(out, "not verified: "+w.text())
	}
	return out
}
