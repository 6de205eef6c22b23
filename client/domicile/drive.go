package main

import (
	"fmt"
	"io"
	"os"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type driveCommands struct {
	Create driveCreate `cmd:"" help:"Create an empty drive."`
	Get    driveGet    `cmd:"" help:"Show a drive's name, size and version."`
	List   driveList   `cmd:"" help:"List a tenant's drives."`
	Write  driveWrite  `cmd:"" help:"Write a file to a drive: all of it, or nothing."`
	Read   driveRead   `cmd:"" help:"Read a drive into a file, as it is when the call begins."`
	Delete driveDelete `cmd:"" help:"Delete a drive, its key at once."`

	Inspect        driveInspect        `cmd:"" help:"Look at what is stored, with the tenant's permission, or at what passes, under an abuse case."`
	Restrict       driveRestrict       `cmd:"" help:"Take purposes away from what is stored on a drive."`
	Lift           driveLift           `cmd:"" help:"Give purposes back."`
	Snapshot       driveSnapshot       `cmd:"" help:"Keep a drive as it is now."`
	Snapshots      driveSnapshots      `cmd:"" help:"List a drive's snapshots, newest first."`
	Restore        driveRestore        `cmd:"" help:"Put a drive back to a snapshot."`
	DeleteSnapshot driveDeleteSnapshot `cmd:"" help:"Delete a snapshot."`
}

type driveCreate struct {
	TenantID  string    `arg:"" name:"tenant" help:"The tenant."`
	DriveID   string    `arg:"" name:"drive" optional:"" help:"The drive's identifier (default chosen by the gateway)."`
	Size      bytesFlag `required:"" placeholder:"BYTES" help:"Its size, for example 64MiB; at most 16TiB."`
	Name      string    `placeholder:"TEXT" help:"A name for people; it must name nobody."`
	RequestID string    `placeholder:"UUID" help:"Makes a repeated command give the first result for 24 hours."`
}

// Run creates the drive.
func (c *driveCreate) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Drives.CreateDrive(a.ctx, &residencyv1.CreateDriveRequest{
			TenantId: c.TenantID, DriveId: c.DriveID, Name: c.Name, SizeBytes: int64(c.Size), RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetDrive())
	})
}

type driveGet struct {
	TenantID string `arg:"" name:"tenant" help:"The tenant."`
	DriveID  string `arg:"" name:"drive" help:"The drive."`
}

// Run shows the drive.
func (c *driveGet) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Drives.GetDrive(a.ctx, &residencyv1.GetDriveRequest{TenantId: c.TenantID, DriveId: c.DriveID}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetDrive())
	})
}

type driveList struct {
	TenantID string `arg:"" name:"tenant" help:"The tenant."`
	limitFlag
}

// Run lists the drives.
func (c *driveList) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		items, err := collect(c.Limit, g.AllDrives(a.ctx, &residencyv1.ListDrivesRequest{TenantId: c.TenantID, PageSize: c.page()}))
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return list(a, &residencyv1.ListDrivesResponse{Drives: items}, items, []column[*residencyv1.Drive]{
			{"DRIVE", (*residencyv1.Drive).GetDriveId},
			{"NAME", (*residencyv1.Drive).GetName},
			{"SIZE", func(d *residencyv1.Drive) string { return sizeText(d.GetSizeBytes()) }},
			{"VERSION", func(d *residencyv1.Drive) string { return numberText(d.GetVersion()) }},
			{"CREATED", func(d *residencyv1.Drive) string { return timeText(d.GetCreateTime()) }},
			{"WRITTEN", func(d *residencyv1.Drive) string { return timeText(d.GetUpdateTime()) }},
		})
	})
}

// drivePurpose is what drives are read and written for.
type drivePurpose struct {
	Purpose enum[residencyv1.Purpose] `placeholder:"PURPOSE" help:"What for: ${purposes} (default SERVICE_PROVISION)."`
}

func (p drivePurpose) value() residencyv1.Purpose {
	if p.Purpose.value == 0 {
		return residencyv1.Purpose_PURPOSE_SERVICE_PROVISION
	}
	return p.Purpose.value
}

type driveWrite struct {
	TenantID string    `arg:"" name:"tenant" help:"The tenant."`
	DriveID  string    `arg:"" name:"drive" help:"The drive."`
	File     string    `arg:"" help:"The file to write, - for the standard input."`
	Offset   bytesFlag `placeholder:"BYTES" help:"Where its first byte goes (default 0)."`
	drivePurpose
	RequestID string `placeholder:"UUID" help:"Makes a repeated command with the same bytes give the first result for 24 hours."`
}

// Run writes the file.
func (c *driveWrite) Run(a *app) error {
	in, size, err := c.open(a)
	if err != nil {
		return err
	}
	defer in.Close()
	return a.call(func(g *client.Client) error {
		bar := newProgress(a.stderr, "written", size)
		defer bar.end()
		r, err := g.WriteDriveFrom(a.ctx, &residencyv1.WriteDriveHeader{
			TenantId: c.TenantID, DriveId: c.DriveID, Offset: int64(c.Offset), Purpose: c.value(), RequestId: c.RequestID,
		}, in, bar.at, a.decided())
		bar.end()
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r)
	})
}

// open gives what is to be written and its size, -1 when that is not known.
func (c *driveWrite) open(a *app) (io.ReadCloser, int64, error) {
	if c.File == "-" {
		return io.NopCloser(a.stdin), -1, nil
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return f, -1, err
	}
	return f, info.Size(), nil
}

type driveRead struct {
	TenantID string    `arg:"" name:"tenant" help:"The tenant."`
	DriveID  string    `arg:"" name:"drive" help:"The drive."`
	File     string    `arg:"" help:"The file to write, which must not exist; - for the standard output."`
	Offset   bytesFlag `placeholder:"BYTES" help:"The first byte (default 0)."`
	Length   bytesFlag `placeholder:"BYTES" help:"How many bytes (default to the end of the drive)."`
	drivePurpose
}

// Run reads the drive. A file that could not be read whole is removed.
func (c *driveRead) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		var n int64
		err := a.writeFile(c.File, func(w io.Writer) error {
			var err error
			n, err = c.read(a, g, w)
			return err
		})
		if err != nil || c.File == "-" {
			return err
		}
		return a.note(fmt.Sprintf("%d bytes read", n))
	})
}

func (c *driveRead) read(a *app, g *client.Client, w io.Writer) (int64, error) {
	bar := newProgress(a.stderr, "read", c.size(a, g))
	defer bar.end()
	n, err := g.ReadDriveTo(a.ctx, &residencyv1.ReadDriveRequest{
		TenantId: c.TenantID, DriveId: c.DriveID, Offset: int64(c.Offset), Length: int64(c.Length), Purpose: c.value(),
	}, w, bar.at, a.decided())
	if err != nil {
		return n, a.about(err, c.TenantID, "")
	}
	return n, nil
}

// size is how much there is to read, for the progress bar; -1 = not known.
func (c *driveRead) size(a *app, g *client.Client) int64 {
	if c.Length > 0 {
		return int64(c.Length)
	}
	if !isTerminal(a.stderr) {
		return -1
	}
	r, err := g.Drives.GetDrive(a.ctx, &residencyv1.GetDriveRequest{TenantId: c.TenantID, DriveId: c.DriveID})
	if err != nil {
		return -1 // the read itself says what is wrong
	}
	return r.GetDrive().GetSizeBytes() - int64(c.Offset)
}

type driveDelete struct {
	TenantID        string `arg:"" name:"tenant" help:"The tenant."`
	DriveID         string `arg:"" name:"drive" help:"The drive."`
	ExpectedVersion *int64 `placeholder:"N" help:"The version that is deleted (default whatever is there)."`
	RequestID       string `placeholder:"UUID" help:"Makes a repeated command give the first result for 24 hours."`
}

// Run deletes the drive.
func (c *driveDelete) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Drives.DeleteDrive(a.ctx, &residencyv1.DeleteDriveRequest{
			TenantId: c.TenantID, DriveId: c.DriveID, ExpectedVersion: c.ExpectedVersion, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.done(r, "deleted")
	})
}
