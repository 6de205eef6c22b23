package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type driveInspect struct {
	driveArgs
	File   string    `arg:"" help:"The file to write, which must not exist; - for the standard output. What was watched until an error stays."`
	Offset bytesFlag `placeholder:"BYTES" help:"Of what is stored, the first byte (default 0)."`
	Length bytesFlag `placeholder:"BYTES" help:"Of what is stored, how many bytes (default to the end of the drive)."`
	Case   string    `placeholder:"ID" help:"Watch transfers as they pass under this approved abuse case, instead of reading what is stored: JSON lines, until interrupted."`
	For    seconds   `placeholder:"DURATION" help:"How long to watch (default until interrupted or the case ends)."`
}

// Run inspects the drive: what is stored with the tenant's permission, or what
// passes under a case.
func (c *driveInspect) Run(a *app) error {
	if c.Case == "" && c.For != 0 {
		return usagef("--for needs --case: only what passes takes time")
	}
	if c.Case != "" && (c.Offset != 0 || c.Length != 0) {
		return usagef("--offset and --length are of what is stored, and do not go with --case")
	}
	return a.call(func(g *client.Client) error {
		var note string
		var ended error // of a watch: what was seen until then stays
		err := a.writeFile(c.File, func(w io.Writer) (err error) {
			if c.Case == "" {
				note, err = c.stored(a, g, w)
				return err
			}
			var seen bool
			note, seen, err = c.watch(a, g, w)
			if seen {
				ended, err = err, nil
			}
			return err
		})
		if err = errors.Join(err, ended); err != nil {
			return a.about(err, c.TenantID, "")
		}
		if c.File == "-" {
			return nil
		}
		return a.note(note)
	})
}

func (c *driveInspect) stored(a *app, g *client.Client, w io.Writer) (string, error) {
	total := int64(c.Length)
	if total == 0 {
		total = -1
	}
	bar := newProgress(a.stderr, "inspected", total)
	defer bar.end()
	n, err := g.InspectDriveTo(a.ctx, &residencyv1.InspectDriveRequest{
		TenantId: c.TenantID, DriveId: c.DriveID, Purpose: residencyv1.Purpose_PURPOSE_INSPECTION,
		Offset: int64(c.Offset), Length: int64(c.Length),
	}, w, bar.at, a.decided())
	return countText(n, "byte") + " inspected", err
}

// watch writes what passes until its time is over; that it is then ended is no
// failure. It says whether anything was seen, also when it fails.
func (c *driveInspect) watch(a *app, g *client.Client, w io.Writer) (note string, seen bool, err error) {
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	if c.For != 0 {
		// No deadline: the gateway would keep it as well, and its end of the stream
		// may be here before this clock has struck.
		defer time.AfterFunc(time.Duration(c.For), cancel).Stop()
	}
	bar := newProgress(a.stderr, "", -1)
	defer bar.end()
	var shown, missed int64
	for m, err := range g.WatchDrive(ctx, &residencyv1.InspectDriveRequest{
		TenantId: c.TenantID, DriveId: c.DriveID, Purpose: residencyv1.Purpose_PURPOSE_FRAUD_PREVENTION, CaseId: c.Case,
	}, a.decided()) {
		if err != nil && ctx.Err() != nil {
			break
		}
		if err == nil {
			err = writeLine(w, m)
		}
		if err != nil {
			return "", seen, err
		}
		seen = true
		shown += int64(len(m.GetData()))
		missed += m.GetPassing().GetMissedBytes()
		bar.text(fmt.Sprintf("%d bytes shown, %d missed", shown, missed))
	}
	return fmt.Sprintf("%d bytes that passed were shown, %d were not", shown, missed), seen, nil
}

// writeLine writes a message in JSON on one line, the same in every run.
func writeLine(w io.Writer, m proto.Message) error {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return err
	}
	var line bytes.Buffer
	if err := json.Compact(&line, text); err != nil {
		return err
	}
	line.WriteByte('\n')
	_, err = w.Write(line.Bytes())
	return err
}
