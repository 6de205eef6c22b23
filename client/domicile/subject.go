package main

import (
	"io"
	"os"

	"google.golang.org/protobuf/proto"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// subjectArgs name a person.
type subjectArgs struct {
	TenantID  string `arg:"" name:"tenant" help:"The tenant."`
	SubjectID string `arg:"" name:"subject" help:"The person."`
}

type recordRestrict struct {
	subjectArgs
	Purpose []enum[residencyv1.Purpose] `required:"" placeholder:"PURPOSE" help:"What is not to be done with it any more; may be repeated: ${purposes}."`
	requestFlag
}

// Run takes the purposes away.
func (c *recordRestrict) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Records.RestrictSubject(a.ctx, &residencyv1.RestrictSubjectRequest{
			TenantId: c.TenantID, SubjectId: c.SubjectID, Purposes: values(c.Purpose), RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, c.SubjectID)
		}
		return a.showRestrictions(r, r.GetRestrictions())
	})
}

type recordLift struct {
	subjectArgs
	Purpose []enum[residencyv1.Purpose] `required:"" placeholder:"PURPOSE" help:"What may be done with it again; may be repeated: ${purposes}."`
	requestFlag
}

// Run gives the purposes back.
func (c *recordLift) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Records.LiftRestriction(a.ctx, &residencyv1.LiftRestrictionRequest{
			TenantId: c.TenantID, SubjectId: c.SubjectID, Purposes: values(c.Purpose), RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, c.SubjectID)
		}
		return a.showRestrictions(r, r.GetRestrictions())
	})
}

type recordObject struct {
	subjectArgs
	requestFlag
}

// Run declines automatic collection.
func (c *recordObject) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Records.ObjectToCollection(a.ctx, &residencyv1.ObjectToCollectionRequest{
			TenantId: c.TenantID, SubjectId: c.SubjectID, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, c.SubjectID)
		}
		return a.showRestrictions(r, r.GetRestrictions())
	})
}

type recordUnobject struct {
	subjectArgs
	requestFlag
}

// Run allows automatic collection again.
func (c *recordUnobject) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Records.WithdrawObjection(a.ctx, &residencyv1.WithdrawObjectionRequest{
			TenantId: c.TenantID, SubjectId: c.SubjectID, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, c.SubjectID)
		}
		return a.showRestrictions(r, r.GetRestrictions())
	})
}

// showRestrictions shows what a person has asked for, which a caller abroad is not told.
func (a *app) showRestrictions(answer proto.Message, r *residencyv1.SubjectRestrictions) error {
	if r == nil {
		return a.done(answer, "taken in; what is restricted is told at home alone")
	}
	return a.show(answer, r)
}

type recordExport struct {
	subjectArgs
	File string `arg:"" optional:"" default:"-" help:"The file to write, which must not exist (default the standard output)."`
}

// Run exports the person's file, as JSON lines. A file that could not be
// written whole is removed.
func (c *recordExport) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		var lines int64
		err := a.writeFile(c.File, func(w io.Writer) error {
			bar := newProgress(a.stderr, "", -1)
			defer bar.end()
			var err error
			lines, err = g.ExportSubjectTo(a.ctx, &residencyv1.ExportSubjectRequest{TenantId: c.TenantID, SubjectId: c.SubjectID}, w,
				func(n int64) { bar.text(countText(n, "piece")) }, a.decided())
			return err
		})
		if err != nil {
			return a.about(err, c.TenantID, c.SubjectID)
		}
		return a.note(countText(lines, "piece") + " exported")
	})
}

// writeFile makes a file, "-" for the standard output, and removes it when it
// could not be written whole.
func (a *app) writeFile(name string, write func(io.Writer) error) error {
	if name == "-" {
		return write(a.stdout)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		os.Remove(name)
	}
	return err
}
