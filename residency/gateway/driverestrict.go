package gateway

import (
	"context"
	"fmt"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// RestrictDrive takes purposes away from what is stored on a drive (clause
// change-use). Reads that are under way for such a purpose end with their lease. It goes
// on while the tenant is suspended: it protects.
func (g *Gateway) RestrictDrive(ctx context.Context, call *Call, req RestrictDrive) (Drive, error) {
	a := &act{call: call, op: "gateway.RestrictDrive", suspended: true}
	return g.changeUse(ctx, a, &req, func(now residency.Purposes) residency.Purposes { return now | req.Purposes })
}

// LiftDriveRestriction gives purposes back that were taken away.
func (g *Gateway) LiftDriveRestriction(ctx context.Context, call *Call, req RestrictDrive) (Drive, error) {
	a := &act{call: call, op: "gateway.LiftDriveRestriction"}
	return g.changeUse(ctx, a, &req, func(now residency.Purposes) residency.Purposes { return now &^ req.Purposes })
}

// changeUse changes which purposes are taken away from a drive. What it tells is
// account data, and what is asked for is a wish that comes home, wherever from.
func (g *Gateway) changeUse(
	ctx context.Context, a *act, req *RestrictDrive, change func(residency.Purposes) residency.Purposes,
) (Drive, error) {
	if req.Purposes == 0 {
		return Drive{}, residency.Bad(a.op, "purposes", "must name at least one")
	}
	a.tenant, a.drive, a.exclusive, a.inbound = req.Tenant, req.Drive, true, true
	var out Drive
	_, err := g.decide(ctx, a, func(t *txn) error {
		digest := func() store.ID {
			return t.tk.ID("restrict-drive", req.Drive, fmt.Sprint(uint32(req.Purposes)), expectation(req.Expected))
		}
		var err error
		out, err = t.changeDrive(req.Expected, req.RequestID, digest, func(row *driveRow, _ uint64) (bool, error) {
			was := row.Restricted
			row.Restricted = change(was)
			return row.Restricted != was, nil
		})
		return err
	})
	if err != nil {
		return Drive{}, err
	}
	return out, nil
}

// changeDrive changes the act's drive, if it is at the expected version, to the
// next version, unless there is nothing to change.
func (t *txn) changeDrive(
	expected *uint64, requestID string, digest func() store.ID, change func(row *driveRow, version uint64) (changed bool, err error),
) (Drive, error) {
	var first []byte
	found, err := t.replay(requestID, digest, func(b []byte) { first = b })
	if err != nil {
		return Drive{}, err
	}
	if found {
		return decodeDriveAnswer(first)
	}
	row, version, err := t.readDrive()
	if err != nil {
		return Drive{}, err
	}
	if !matches(expected, true, version) {
		return Drive{}, residency.E(t.a.op, residency.VersionMismatch, nil)
	}
	changed, err := change(&row, version+1)
	if err != nil {
		return Drive{}, err
	}
	if changed {
		version++
		if err := t.putDrive(&row, version); err != nil {
			return Drive{}, err
		}
	}
	answer := driveAnswer{Drive: row.encode(), Version: version}
	return row.public(version), t.remember(requestID, encodeRow(&answer))
}

// driveAnswer is a drive as a request_id keeps it.
type driveAnswer struct {
	Drive   []byte // its row
	Version uint64
}

func (a *driveAnswer) layout(f *fields) {
	f.bytes(1, &a.Drive)
	f.uint(2, &a.Version)
}

func decodeDriveAnswer(b []byte) (Drive, error) {
	var a driveAnswer
	if err := decodeRow(b, &a); err != nil {
		return Drive{}, err
	}
	row, err := decodeDrive(a.Drive)
	return row.public(a.Version), err
}
