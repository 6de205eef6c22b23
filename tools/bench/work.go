package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// session is one caller's state while it repeats a work.
type session struct {
	stubs
	shape           shape
	caller, callers int
	dice            *rand.Rand
	next            int            // how many the caller has done of a work that ends
	data            []byte         // what it writes: random bytes, made when first needed
	carried         *atomic.Uint64 // bytes of drive data, all callers together
}

// work is one kind of call, repeated by every caller as an identity.
type work struct {
	identity string
	do       func(context.Context, *session) error
}

// errDone ends a caller whose work is done.
var errDone = errors.New("done")

// works are the kinds of load by name.
var works = map[string]work{
	"GetRecord":     {"app-ch", getRecord},
	"PutRecord":     {"app-ch", putRecord},
	"CheckTransfer": {"app-ch", checkTransfer},
	"GrantConsent":  {"app-ch", grantConsent},
	"ReadDrive":     {"app-ch", readDrive},
	"WriteDrive":    {"app-ch", writeDrive},

	"GetRecord from abroad": {"app-us", getRecord},

	// What makes the objects that the others work on.
	"make tenants":  {"admin-ch", makeTenants},
	"make records":  {"app-ch", makeRecords},
	"make consents": {"app-ch", makeConsents},
	"make drives":   {"app-ch", makeDrives},

	"read records":  {"app-ch", readRecords},
	"fill drives":   {"app-ch", fillDrives}, // those of a server that has them already
	"await regions": {"sre", awaitRegions},

	// The same without a gateway, on a database or a bucket.
	"bare GetRecord":   {"", bareGetRecord},
	"bare PutRecord":   {"", barePutRecord},
	"bare ReadDrive":   {"", bareReadDrive},
	"bare WriteDrive":  {"", bareWriteDrive},
	"bare make drives": {"", bareMakeDrives},
}

const (
	messageBytes = 256 << 10 // of drive data in one message
	streamBytes  = 32 << 20  // of drive data in one stream, at the most
)

func tenantID(i int) string  { return fmt.Sprintf("bench-%04d", i) }
func subjectID(i int) string { return fmt.Sprintf("s-%06d", i) }
func recordID(i int) string  { return fmt.Sprintf("r-%02d", i) }
func driveID(i int) string   { return fmt.Sprintf("d-%03d", i) }

// object picks one of the records at random, all alike.
func (s *session) object() (tenant, subject, record string) {
	return tenantID(s.dice.IntN(s.shape.Tenants)), subjectID(s.dice.IntN(s.shape.Subjects)), recordID(s.dice.IntN(s.shape.Records))
}

// turn gives the caller's next share of n pieces, or errDone.
func (s *session) turn(n int) (int, error) {
	i := s.next*s.callers + s.caller
	s.next++
	if i >= n {
		return 0, errDone
	}
	return i, nil
}

func getRecord(ctx context.Context, s *session) error {
	tenant, subject, record := s.object()
	return s.get(ctx, tenant, subject, record)
}

func (s *session) get(ctx context.Context, tenant, subject, record string) error {
	_, err := s.records.GetRecord(ctx, &residencyv1.GetRecordRequest{
		TenantId: tenant, SubjectId: subject, RecordId: record, Purpose: residencyv1.Purpose_PURPOSE_PAYMENTS,
	})
	return err
}

func putRecord(ctx context.Context, s *session) error {
	tenant, subject, record := s.object()
	return s.put(ctx, tenant, subject, record)
}

func (s *session) put(ctx context.Context, tenant, subject, record string) error {
	_, err := s.records.PutRecord(ctx, &residencyv1.PutRecordRequest{TenantId: tenant, Record: personalRecord(subject, record)})
	return err
}

func personalRecord(subject, record string) *residencyv1.PersonalRecord {
	return &residencyv1.PersonalRecord{
		RecordId:  record,
		SubjectId: subject,
		Personal: &residencyv1.Personal{
			FullName:      "Eva Muster of the Benchmark",
			PostalAddress: "Bahnhofstrasse 1, 8001 Zuerich",
			PhoneNumber:   "+41 44 000 00 00",
			EmailAddress:  "eva.muster@example.org",
			Attributes:    map[string]string{"customer-number": "A-" + subject, "note": "a sentence or two about what was asked and when it was answered"},
		},
		Source:   residencyv1.Source_SOURCE_PROVIDED,
		Purposes: []residencyv1.Purpose{residencyv1.Purpose_PURPOSE_SERVICE_PROVISION, residencyv1.Purpose_PURPOSE_PAYMENTS},
	}
}

func checkTransfer(ctx context.Context, s *session) error {
	tenant, subject, _ := s.object()
	r, err := s.transfers.CheckTransfer(ctx, &residencyv1.CheckTransferRequest{
		TenantId:  tenant,
		Object:    &residencyv1.CheckTransferRequest_SubjectId{SubjectId: subject},
		DataClass: residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION,
		ToRegion:  "us",
		Purpose:   residencyv1.Purpose_PURPOSE_PAYMENTS,
	})
	if err == nil && r.GetDecision().GetOutcome() != residencyv1.Outcome_OUTCOME_ALLOW {
		return fmt.Errorf("the transfer is refused with %s: the consents of the benchmark are not there", r.GetDecision().GetReason())
	}
	return err
}

func grantConsent(ctx context.Context, s *session) error {
	tenant, subject, _ := s.object()
	_, err := s.consents.GrantConsent(ctx, &residencyv1.GrantConsentRequest{
		TenantId: tenant,
		Consent:  crossing(&residencyv1.Consent_SubjectId{SubjectId: subject}, residencyv1.Purpose_PURPOSE_ENQUIRIES),
	})
	return err
}

func crossing(scope any, purposes ...residencyv1.Purpose) *residencyv1.Consent {
	c := &residencyv1.Consent{
		Kind:             residencyv1.ConsentKind_CONSENT_KIND_BORDER_CROSSING,
		DataClasses:      []residencyv1.DataClass{residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION},
		FromJurisdiction: "CH",
		ToJurisdiction:   "US",
		Purposes:         purposes,
		Evidence: &residencyv1.Evidence{
			Method:         "signed form",
			Grantor:        "the benchmark",
			NoticeLanguage: "de-CH",
			NoticeDigest:   "sha256:0000000000000000000000000000000000000000000000000000000000000000",
		},
	}
	switch scope := scope.(type) {
	case *residencyv1.Consent_SubjectId:
		c.Scope = scope
	case *residencyv1.Consent_WholeTenant:
		c.Scope = scope
	}
	return c
}

// driveOf gives the drive that a caller works on: its own while there are enough.
func (s *session) driveOf() string { return driveID(s.caller % max(s.shape.Drives, 1)) }

func readDrive(ctx context.Context, s *session) error {
	stream, err := s.drives.ReadDrive(ctx, &residencyv1.ReadDriveRequest{
		TenantId: tenantID(0), DriveId: s.driveOf(), Length: min(s.shape.DriveBytes, streamBytes),
		Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s.carried.Add(uint64(len(m.GetData())))
	}
}

func writeDrive(ctx context.Context, s *session) error {
	return s.write(ctx, s.driveOf(), min(s.shape.DriveBytes, streamBytes))
}

func (s *session) write(ctx context.Context, drive string, size int64) error {
	stream, err := s.drives.WriteDrive(ctx)
	if err != nil {
		return err
	}
	header := &residencyv1.WriteDriveHeader{
		TenantId: tenantID(0), DriveId: drive, Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	}
	err = stream.Send(&residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Header{Header: header}})
	for left := size; left > 0 && err == nil; left -= messageBytes {
		part := s.random(messageBytes)[:min(left, messageBytes)]
		err = stream.Send(&residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Data{Data: part}})
		if err == nil {
			s.carried.Add(uint64(len(part)))
		}
	}
	if err != nil && !errors.Is(err, io.EOF) { // io.EOF: the answer says why
		return err
	}
	_, err = stream.CloseAndRecv()
	return err
}

// random gives bytes that no layer below can make shorter.
func (s *session) random(n int) []byte {
	if len(s.data) != n {
		s.data = make([]byte, n)
		for i := range s.data {
			s.data[i] = byte(s.dice.Uint32())
		}
	}
	return s.data
}
