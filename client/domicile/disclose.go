package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type disclosureDisclose struct {
	TenantID    string                             `arg:"" name:"tenant" help:"The tenant."`
	RecipientID string                             `arg:"" name:"recipient" help:"Who receives it."`
	File        string                             `arg:"" optional:"" default:"-" help:"The file to write, which must not exist (default the standard output): a person's records as JSON lines, a drive's bytes as they are."`
	Subject     string                             `placeholder:"ID" xor:"object" help:"What is held about this person; this or --drive."`
	Drive       string                             `placeholder:"ID" xor:"object" help:"This drive, under a legal order alone; this or --subject."`
	Order       string                             `placeholder:"ID" xor:"basis" help:"The legal order that obliges to it; the purpose then is LEGAL_OBLIGATION where none is stated."`
	Request     string                             `placeholder:"ID" xor:"basis" help:"The granted request that it answers."`
	Stage       enum[residencyv1.TransactionStage] `placeholder:"STAGE" help:"How far the sale is, for an acquirer: ${stages}."`
	Necessity   string                             `placeholder:"TEXT" help:"Why the exchange is necessary, for a fraud partner."`
	purposeFlag
}

// Run discloses, and says what left.
func (c *disclosureDisclose) Run(a *app) error {
	if c.Subject == "" && c.Drive == "" {
		return usagef("--subject or --drive is missing: a disclosure says what of")
	}
	req := c.request()
	return a.call(func(g *client.Client) error {
		var records, size int64
		err := a.writeFile(c.File, func(w io.Writer) error {
			bar := newProgress(a.stderr, "disclosed", -1)
			defer bar.end()
			for m, err := range g.Disclosed(a.ctx, req, a.decided()) {
				if err == nil && m.GetRecord() != nil {
					records++
					err = writeLine(w, m.GetRecord())
				} else if err == nil {
					size += int64(len(m.GetData()))
					_, err = w.Write(m.GetData())
				}
				if err != nil {
					return err
				}
				bar.at(size)
			}
			return nil
		})
		if err != nil {
			return a.partly(a.about(err, c.TenantID, c.Subject), records, size)
		}
		if c.Drive != "" {
			return a.note(countText(size, "byte") + " disclosed")
		}
		return a.note(countText(records, "record") + " disclosed")
	})
}

func (c *disclosureDisclose) request() *residencyv1.DiscloseRequest {
	req := &residencyv1.DiscloseRequest{
		TenantId: c.TenantID, RecipientId: c.RecipientID, Purpose: c.Purpose.value, OrderId: c.Order, InformalRequestId: c.Request,
		Stage: c.Stage.value, Necessity: c.Necessity,
	}
	if c.Drive != "" {
		req.Object = &residencyv1.DiscloseRequest_DriveId{DriveId: c.Drive}
	} else {
		req.Object = &residencyv1.DiscloseRequest_SubjectId{SubjectId: c.Subject}
	}
	if req.Purpose == 0 && c.Order != "" {
		req.Purpose = residencyv1.Purpose_PURPOSE_LEGAL_OBLIGATION
	}
	return req
}

// partly warns that a part had left before a disclosure was cut: it is on record.
func (a *app) partly(err error, records, size int64) error {
	if records+size > 0 && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(a.stderr, "%s and %s of drives had left before it ended; %s says so too\n", countText(records, "record"), countText(size, "byte"), a.hint("disclosure list"))
	}
	return err
}
