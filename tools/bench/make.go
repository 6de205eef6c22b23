package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// What prepares a server for what is measured.

// awaitRegions waits until the gateway reaches every region, at the most a minute.
func awaitRegions(ctx context.Context, s *session) error {
	down := func(r *residencyv1.RegionStatus) bool { return !r.GetUp() }
	for range 1200 {
		r, err := s.gateways.ListRegions(ctx, &residencyv1.ListRegionsRequest{})
		if err == nil && len(r.GetRegions()) > 0 && !slices.ContainsFunc(r.GetRegions(), down) {
			return errDone
		}
		wait(ctx, 50*time.Millisecond)
	}
	return errors.New("a region stays down")
}

func makeTenants(ctx context.Context, s *session) error {
	i, err := s.turn(s.shape.Tenants)
	if err != nil {
		return err
	}
	_, err = s.tenants.RegisterTenant(ctx, &residencyv1.RegisterTenantRequest{TenantId: tenantID(i), Residence: "CH"})
	return err
}

// makeRecords gives each caller whole subjects, so that callers meet on tenants
// but not on subjects.
func makeRecords(ctx context.Context, s *session) error {
	tenant, subject, record, err := s.nextRecord()
	if err != nil {
		return err
	}
	err = s.put(ctx, tenant, subject, record)
	for n := 0; n < 10 && status.Code(err) == codes.Unavailable; n++ { // a disk that others keep busy
		wait(ctx, time.Second)
		err = s.put(ctx, tenant, subject, record)
	}
	return err
}

// readRecords reads every record once, so that a gateway that was started anew has
// every key that it will need.
func readRecords(ctx context.Context, s *session) error {
	tenant, subject, record, err := s.nextRecord()
	if err != nil {
		return err
	}
	return s.get(ctx, tenant, subject, record)
}

// nextRecord gives the next record of a caller's own subjects, or errDone.
func (s *session) nextRecord() (tenant, subject, record string, err error) {
	i, n := s.next/s.shape.Records*s.callers+s.caller, s.next%s.shape.Records
	if i >= s.shape.Tenants*s.shape.Subjects {
		return "", "", "", errDone
	}
	s.next++
	return tenantID(i % s.shape.Tenants), subjectID(i / s.shape.Tenants), recordID(n), nil
}

// makeConsents lets each tenant's records cross for payments, so that
// CheckTransfer has a consent to find.
func makeConsents(ctx context.Context, s *session) error {
	i, err := s.turn(s.shape.Tenants)
	if err != nil {
		return err
	}
	_, err = s.consents.GrantConsent(ctx, &residencyv1.GrantConsentRequest{
		TenantId: tenantID(i),
		Consent:  crossing(&residencyv1.Consent_WholeTenant{WholeTenant: true}, residencyv1.Purpose_PURPOSE_PAYMENTS),
	})
	return err
}

func makeDrives(ctx context.Context, s *session) error {
	i, err := s.turn(s.shape.Drives)
	if err != nil {
		return err
	}
	_, err = s.drives.CreateDrive(ctx, &residencyv1.CreateDriveRequest{
		TenantId: tenantID(0), DriveId: driveID(i), Name: driveID(i), SizeBytes: s.shape.DriveBytes,
	})
	if err != nil {
		return err
	}
	return s.write(ctx, driveID(i), s.shape.DriveBytes)
}

func fillDrives(ctx context.Context, s *session) error {
	i, err := s.turn(s.shape.Drives)
	if err != nil {
		return err
	}
	return s.write(ctx, driveID(i), s.shape.DriveBytes)
}
