package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/config"
)

// streaming is a backend whose streams of data a test replaces.
type streaming struct {
	Backend
	export   func(context.Context, gateway.SubjectCall, func(gateway.FilePiece) error) error
	inspect  func(context.Context, gateway.InspectDrive, func([]byte, *gateway.Passing) error) error
	disclose func(context.Context, gateway.Disclose, func(gateway.DisclosePiece) error) error
}

func (s *streaming) ExportSubject(ctx context.Context, _ *gateway.Call, req gateway.SubjectCall, send func(gateway.FilePiece) error) error {
	return s.export(ctx, req, send)
}

func (s *streaming) InspectDrive(ctx context.Context, _ *gateway.Call, req gateway.InspectDrive, send func([]byte, *gateway.Passing) error) error {
	return s.inspect(ctx, req, send)
}

func (s *streaming) Disclose(ctx context.Context, _ *gateway.Call, req gateway.Disclose, send func(gateway.DisclosePiece) error) error {
	return s.disclose(ctx, req, send)
}

func (s *streaming) use() option {
	return withBackend(func(b Backend) Backend { s.Backend = b; return s })
}

func exportRequest() *residencyv1.ExportSubjectRequest {
	return &residencyv1.ExportSubjectRequest{TenantId: "acme", SubjectId: "p"}
}

func inspectRequest() *residencyv1.InspectDriveRequest {
	return &residencyv1.InspectDriveRequest{
		TenantId: "acme", DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_FRAUD_PREVENTION, Offset: 3, Length: 4, CaseId: "c",
	}
}

func discloseRequest() *residencyv1.DiscloseRequest {
	return &residencyv1.DiscloseRequest{
		TenantId: "acme", RecipientId: "r", Object: &residencyv1.DiscloseRequest_DriveId{DriveId: "d"}, Purpose: residencyv1.Purpose_PURPOSE_LEGAL_OBLIGATION,
		OrderId: "o", InformalRequestId: "i", Stage: residencyv1.TransactionStage_TRANSACTION_STAGE_ASSET_TRANSFER, Necessity: "n",
	}
}

// receiveAll takes a stream's messages until it ends.
func receiveAll[M any](s grpc.ServerStreamingClient[M], err error) ([]*M, error) {
	if err != nil {
		return nil, err
	}
	var out []*M
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, m)
	}
}

func TestExportSubject(t *testing.T) {
	pieces := []gateway.FilePiece{
		{Restrictions: &gateway.Restrictions{Declined: true}},
		{Record: &gateway.Record{ID: "r", FullName: canary}},
		{Consent: &gateway.ConsentNow{}},
		{Disclosure: &gateway.Disclosure{ID: "d", Subject: "p"}},
		{Decision: &gateway.DecisionRecord{Caller: appCH}},
	}
	var asked gateway.SubjectCall
	s := &streaming{export: func(_ context.Context, req gateway.SubjectCall, send func(gateway.FilePiece) error) error {
		asked = req
		for _, p := range pieces {
			if err := send(p); err != nil {
				return err
			}
		}
		return nil
	}}
	w := newWorld(t, s.use())
	got, err := receiveAll(residencyv1.NewRecordServiceClient(w.as(appCH)).ExportSubject(t.Context(), exportRequest()))
	if err != nil || len(got) != len(pieces) {
		t.Fatalf("%d pieces, %v", len(got), err)
	}
	for i, p := range pieces {
		if want := filePieceProto("acme", &p); !proto.Equal(got[i], want) {
			t.Errorf("piece %d: got %v, want %v", i, got[i], want)
		}
	}
	if asked != (gateway.SubjectCall{Tenant: "acme", Subject: "p"}) {
		t.Errorf("asked %+v", asked)
	}
}

// The bytes of an inspection and of a disclosure are the backend's again when send
// returns: what it writes over them then is not sent.
func TestSentBytesAreCopied(t *testing.T) {
	var inspected gateway.InspectDrive
	var disclosed gateway.Disclose
	buf := make([]byte, maxDriveData)
	fill := func(b byte) []byte {
		for i := range buf {
			buf[i] = b
		}
		return buf
	}
	s := &streaming{
		inspect: func(_ context.Context, req gateway.InspectDrive, send func([]byte, *gateway.Passing) error) error {
			inspected = req
			passing := &gateway.Passing{Write: true, Offset: 7, Decision: "x", Missed: 8}
			err := errors.Join(send(fill(1), nil), send(fill(2), passing))
			fill(9)
			return err
		},
		disclose: func(_ context.Context, req gateway.Disclose, send func(gateway.DisclosePiece) error) error {
			disclosed = req
			err := errors.Join(send(gateway.DisclosePiece{Data: fill(1)}), send(gateway.DisclosePiece{Data: fill(2)}), send(gateway.DisclosePiece{Record: &gateway.Record{ID: "r"}}))
			fill(9)
			return err
		},
	}
	w := newWorld(t, s.use())
	conn := w.as(appCH)
	looked, err := receiveAll(residencyv1.NewDriveServiceClient(conn).InspectDrive(t.Context(), inspectRequest()))
	if err != nil || len(looked) != 2 {
		t.Fatalf("%d messages, %v", len(looked), err)
	}
	given, err := receiveAll(residencyv1.NewDisclosureServiceClient(conn).Disclose(t.Context(), discloseRequest()))
	if err != nil || len(given) != 3 {
		t.Fatalf("%d messages, %v", len(given), err)
	}
	for i := range 2 {
		want := bytes.Repeat([]byte{byte(i + 1)}, maxDriveData)
		if !bytes.Equal(looked[i].GetData(), want) || !bytes.Equal(given[i].GetData(), want) {
			t.Errorf("message %d has other bytes", i)
		}
	}
	passing := &residencyv1.PassingTransfer{Direction: residencyv1.TransferDirection_TRANSFER_DIRECTION_WRITE, Offset: 7, DecisionId: "x", MissedBytes: 8}
	if looked[0].GetPassing() != nil || !proto.Equal(looked[1].GetPassing(), passing) || given[2].GetRecord().GetRecordId() != "r" {
		t.Errorf("got %v, %v, %v", looked[0].GetPassing(), looked[1].GetPassing(), given[2])
	}
	if inspected != (gateway.InspectDrive{Tenant: "acme", Drive: "d", Purpose: residency.FraudPrevention, Offset: 3, Length: 4, Case: "c"}) {
		t.Errorf("inspected %+v", inspected)
	}
	want := gateway.Disclose{
		Tenant: "acme", Recipient: "r", Drive: "d", Purpose: residency.LegalObligation, Order: "o", Informal: "i", Stage: gateway.AssetTransfer, Necessity: "n",
	}
	if disclosed != want {
		t.Errorf("disclosed %+v", disclosed)
	}
}

// A caller that stops reading is cut off, whatever stream it asked for.
func TestSlowReadersAreCut(t *testing.T) {
	ended := make(chan error, 3)
	endless := func(send func() error) error {
		var err error
		for err == nil {
			err = send()
		}
		ended <- err
		return residency.E("streaming", residency.Internal, err)
	}
	record := &gateway.Record{Attributes: map[string]string{"a": string(make([]byte, 4<<10))}}
	s := &streaming{
		export: func(_ context.Context, _ gateway.SubjectCall, send func(gateway.FilePiece) error) error {
			return endless(func() error { return send(gateway.FilePiece{Record: record}) })
		},
		inspect: func(_ context.Context, _ gateway.InspectDrive, send func([]byte, *gateway.Passing) error) error {
			return endless(func() error { return send(make([]byte, maxDriveData), nil) })
		},
		disclose: func(_ context.Context, _ gateway.Disclose, send func(gateway.DisclosePiece) error) error {
			return endless(func() error { return send(gateway.DisclosePiece{Record: record}) })
		},
	}
	w := newWorld(t, s.use(), withLimits(func(l *config.Limits) { l.StreamIdle = 50 * time.Millisecond }))
	conn := w.as(appCH)
	check := func(name string, recv func() error) {
		t.Helper()
		if err := <-ended; !errors.Is(err, errIdle) {
			t.Errorf("%s: %v", name, err)
		}
		var err error
		for err == nil {
			err = recv()
		}
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("%s: the reader is told %v", name, err)
		}
	}
	export, err := residencyv1.NewRecordServiceClient(conn).ExportSubject(t.Context(), exportRequest())
	if err != nil {
		t.Fatal(err)
	}
	check("export", func() error { _, err := export.Recv(); return err })
	inspect, err := residencyv1.NewDriveServiceClient(conn).InspectDrive(t.Context(), inspectRequest())
	if err != nil {
		t.Fatal(err)
	}
	check("inspect", func() error { _, err := inspect.Recv(); return err })
	disclose, err := residencyv1.NewDisclosureServiceClient(conn).Disclose(t.Context(), discloseRequest())
	if err != nil {
		t.Fatal(err)
	}
	check("disclose", func() error { _, err := disclose.Recv(); return err })
}

// Every stream of data takes one of the places that there are for them.
func TestDataStreamsAreBounded(t *testing.T) {
	inside := make(chan struct{})
	hold := func(ctx context.Context) error { inside <- struct{}{}; <-ctx.Done(); return ctx.Err() }
	s := &streaming{
		export: func(ctx context.Context, _ gateway.SubjectCall, _ func(gateway.FilePiece) error) error {
			return hold(ctx)
		},
		inspect: func(ctx context.Context, _ gateway.InspectDrive, _ func([]byte, *gateway.Passing) error) error {
			return hold(ctx)
		},
		disclose: func(ctx context.Context, _ gateway.Disclose, _ func(gateway.DisclosePiece) error) error {
			return hold(ctx)
		},
	}
	w := newWorld(t, s.use(), withLimits(func(l *config.Limits) { l.DriveStreams = 3 }))
	conn := w.as(appCH)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	open := func() error {
		_, err1 := residencyv1.NewRecordServiceClient(conn).ExportSubject(ctx, exportRequest())
		<-inside
		_, err2 := residencyv1.NewDriveServiceClient(conn).InspectDrive(ctx, inspectRequest())
		<-inside
		_, err3 := residencyv1.NewDisclosureServiceClient(conn).Disclose(ctx, discloseRequest())
		<-inside
		return errors.Join(err1, err2, err3)
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"export": func() error {
			_, err := receiveAll(residencyv1.NewRecordServiceClient(conn).ExportSubject(t.Context(), exportRequest()))
			return err
		},
		"inspect": func() error {
			_, err := receiveAll(residencyv1.NewDriveServiceClient(conn).InspectDrive(t.Context(), inspectRequest()))
			return err
		},
		"disclose": func() error {
			_, err := receiveAll(residencyv1.NewDisclosureServiceClient(conn).Disclose(t.Context(), discloseRequest()))
			return err
		},
		"read": func() error {
			_, err := receiveAll(residencyv1.NewDriveServiceClient(conn).ReadDrive(t.Context(), readRequest()))
			return err
		},
	} {
		if got := tell(call()); got.reason != "OVERLOADED" {
			t.Errorf("%s beside three others: %+v", name, got)
		}
	}
}

// A drain does not wait for who watches, and tells them to try again.
func TestDrainEndsWatching(t *testing.T) {
	inside := make(chan struct{})
	s := &streaming{inspect: func(ctx context.Context, _ gateway.InspectDrive, _ func([]byte, *gateway.Passing) error) error {
		inside <- struct{}{}
		<-ctx.Done()
		return residency.E("streaming", residency.Internal, ctx.Err())
	}}
	w := newWorld(t, s.use())
	watch, err := residencyv1.NewDriveServiceClient(w.as(appCH)).InspectDrive(t.Context(), inspectRequest())
	if err != nil {
		t.Fatal(err)
	}
	<-inside
	w.server.Drain(t.Context()) // ends, or the test does not
	if _, err := watch.Recv(); tell(err).reason != "REGION_UNAVAILABLE" || tell(err).retry == nil {
		t.Errorf("the watcher is told %v", err)
	}
	if log := w.log.String(); strings.Contains(log, "level=ERROR") {
		t.Errorf("the log:\n%s", log)
	}
}

// A slip of the hand erases nothing: the backend is not asked.
func TestEraseTenantIsConfirmed(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	conn := w.as(appCH)
	for _, confirm := range []string{"", "acme2", "ACME"} {
		_, err := residencyv1.NewTenantServiceClient(conn).EraseTenant(t.Context(), &residencyv1.EraseTenantRequest{TenantId: "acme", ConfirmTenantId: confirm})
		got := tell(err)
		if got.reason != "BAD_REQUEST" || len(got.bad.GetFieldViolations()) != 1 || got.bad.GetFieldViolations()[0].GetField() != "confirm_tenant_id" {
			t.Errorf("%q: %v", confirm, err)
		}
	}
	if err := getTenant(t.Context(), conn); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// The gateway learns that a caller went away, by its own will or with its connection, whether it
// hears of it from a message or from the context; and no fault of ours is logged.
func TestCallersThatGoAway(t *testing.T) {
	ended := make(chan error, 1)
	started := make(chan struct{}, 1)
	s := &streaming{export: func(_ context.Context, _ gateway.SubjectCall, send func(gateway.FilePiece) error) error {
		record := &gateway.Record{Attributes: map[string]string{"a": string(make([]byte, 4<<10))}}
		err := send(gateway.FilePiece{Record: record})
		started <- struct{}{}
		for err == nil {
			err = send(gateway.FilePiece{Record: record})
		}
		ended <- err
		return &residency.Error{Op: "streaming", Kind: residency.Canceled, Err: err}
	}}
	for name, leave := range map[string]func(context.CancelFunc, *grpc.ClientConn){
		"cancels": func(cancel context.CancelFunc, _ *grpc.ClientConn) { cancel() },
		"is gone": func(_ context.CancelFunc, conn *grpc.ClientConn) { _ = conn.Close() },
	} {
		w := newWorld(t, s.use())
		conn := w.as(appCH)
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := residencyv1.NewRecordServiceClient(conn).ExportSubject(ctx, exportRequest()); err != nil {
			t.Fatal(err)
		}
		<-started
		leave(cancel, conn)
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("who %s: the gateway hears %v", name, err)
		}
		cancel()
		w.server.Drain(t.Context())
		if log := w.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=WARN") {
			t.Errorf("who %s: the log:\n%s", name, log)
		}
	}
}

// A message that fails since its caller is gone says so in the gateway's own terms; another failure stays what it is.
func TestGone(t *testing.T) {
	for _, err := range []error{
		status.FromContextError(context.Canceled).Err(), status.Error(codes.Unavailable, "transport is closing"),
	} {
		if got := gone(err); !errors.Is(got, context.Canceled) || !errors.Is(got, err) {
			t.Errorf("%v becomes %v", err, got)
		}
	}
	for _, err := range []error{nil, io.EOF, status.FromContextError(context.DeadlineExceeded).Err(), status.Error(codes.ResourceExhausted, "too large")} {
		if got := gone(err); !errors.Is(got, err) || errors.Is(got, context.Canceled) {
			t.Errorf("%v becomes %v", err, got)
		}
	}
}
