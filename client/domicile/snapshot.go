package main

import (
	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// driveArgs name a drive.
type driveArgs struct {
	TenantID string `arg:"" name:"tenant" help:"The tenant."`
	DriveID  string `arg:"" name:"drive" help:"The drive."`
}

type driveRestrict struct {
	driveArgs
	Purpose         []enum[residencyv1.Purpose] `required:"" placeholder:"PURPOSE" help:"What it is not to be used for any more; may be repeated: ${purposes}."`
	ExpectedVersion *int64                      `placeholder:"N" help:"The version that is changed (default whatever is there)."`
	requestFlag
}

// Run takes the purposes away.
func (c *driveRestrict) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Drives.RestrictDrive(a.ctx, &residencyv1.RestrictDriveRequest{
			TenantId: c.TenantID, DriveId: c.DriveID, Purposes: values(c.Purpose), ExpectedVersion: c.ExpectedVersion, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetDrive())
	})
}

type driveLift struct {
	driveArgs
	Purpose         []enum[residencyv1.Purpose] `required:"" placeholder:"PURPOSE" help:"What it may be used for again; may be repeated: ${purposes}."`
	ExpectedVersion *int64                      `placeholder:"N" help:"The version that is changed (default whatever is there)."`
	requestFlag
}

// Run gives the purposes back.
func (c *driveLift) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Drives.LiftDriveRestriction(a.ctx, &residencyv1.LiftDriveRestrictionRequest{
			TenantId: c.TenantID, DriveId: c.DriveID, Purposes: values(c.Purpose), ExpectedVersion: c.ExpectedVersion, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetDrive())
	})
}

type driveSnapshot struct {
	driveArgs
	Name string `placeholder:"TEXT" help:"A name for people; it must name nobody."`
	requestFlag
}

// Run takes the snapshot.
func (c *driveSnapshot) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Drives.SnapshotDrive(a.ctx, &residencyv1.SnapshotDriveRequest{
			TenantId: c.TenantID, DriveId: c.DriveID, Name: c.Name, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		if err := a.show(r, r.GetSnapshot()); err != nil {
			return err
		}
		return a.next("put the drive back to it:", a.command("drive", "restore", c.TenantID, c.DriveID, r.GetSnapshot().GetSnapshotId()))
	})
}

type driveSnapshots struct {
	driveArgs
	limitFlag
}

// Run lists the snapshots.
func (c *driveSnapshots) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		items, err := collect(c.Limit, g.AllSnapshots(a.ctx, &residencyv1.ListSnapshotsRequest{
			TenantId: c.TenantID, DriveId: c.DriveID, PageSize: c.page(),
		}))
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return list(a, &residencyv1.ListSnapshotsResponse{Snapshots: items}, items, []column[*residencyv1.Snapshot]{
			{"SNAPSHOT", (*residencyv1.Snapshot).GetSnapshotId},
			{"NAME", (*residencyv1.Snapshot).GetName},
			{"VERSION", func(s *residencyv1.Snapshot) string { return numberText(s.GetDriveVersion()) }},
			{"SIZE", func(s *residencyv1.Snapshot) string { return sizeText(s.GetSizeBytes()) }},
			{"CREATED", func(s *residencyv1.Snapshot) string { return timeText(s.GetCreateTime()) }},
		})
	})
}

type driveRestore struct {
	driveArgs
	SnapshotID      string `arg:"" name:"snapshot" help:"The snapshot; it stays."`
	ExpectedVersion *int64 `placeholder:"N" help:"The drive's version that is changed (default whatever is there)."`
	requestFlag
}

// Run puts the drive back.
func (c *driveRestore) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Drives.RestoreDrive(a.ctx, &residencyv1.RestoreDriveRequest{
			TenantId: c.TenantID, DriveId: c.DriveID, SnapshotId: c.SnapshotID, ExpectedVersion: c.ExpectedVersion, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.show(r, r.GetDrive())
	})
}

type driveDeleteSnapshot struct {
	driveArgs
	SnapshotID string `arg:"" name:"snapshot" help:"The snapshot."`
	requestFlag
}

// Run deletes the snapshot.
func (c *driveDeleteSnapshot) Run(a *app) error {
	return a.call(func(g *client.Client) error {
		r, err := g.Drives.DeleteSnapshot(a.ctx, &residencyv1.DeleteSnapshotRequest{
			TenantId: c.TenantID, DriveId: c.DriveID, SnapshotId: c.SnapshotID, RequestId: c.RequestID,
		}, a.decided())
		if err != nil {
			return a.about(err, c.TenantID, "")
		}
		return a.done(r, "deleted")
	})
}
