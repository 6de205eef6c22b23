package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// dialNarrow connects as an identity by bare gRPC, whose calls are made once. A stream's window is 64 KiB
// and does not grow, so that less than a message has come before the caller asks for it.
func (d *daemon) dialNarrow(t testing.TB, identity string) *grpc.ClientConn {
	t.Helper()
	id := client.EmbeddedIdentity(d.data, identity)
	pair, err := tls.LoadX509KeyPair(id.Certificate, id.Key)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(id.CA)
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("no authority in %s: %v", id.CA, err)
	}
	conn, err := grpc.NewClient(d.grpc,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{pair}})),
		grpc.WithDisableRetry(), grpc.WithInitialWindowSize(64<<10), grpc.WithInitialConnWindowSize(4<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// What passes the border in an abroadLoad.
const (
	recordAnswer  = "record"
	pacedStream   = "stream that is read on"
	stalledStream = "stream that is not read while the withdrawal lasts"
)

// sighting is one read from abroad that was allowed.
type sighting struct {
	replica  *replica
	what     string
	stream   bool
	decision string
	began    time.Time
	arrived  []time.Time // each message
	err      error       // how the stream ended
}

// abroadLoad is a caller abroad that reads through all replicas, and all that it got.
type abroadLoad struct {
	t        *testing.T
	replicas []*replica
	ctx      context.Context //nolint:containedctx // it ends the readers
	stop     context.CancelFunc
	wg       sync.WaitGroup
	gate     atomic.Pointer[chan struct{}] // while there is one, stalled streams are not read

	mu   sync.Mutex
	seen []sighting
}

// startAbroad starts the readers: of each replica two of records and three of the drive.
func startAbroad(t *testing.T, replicas []*replica) *abroadLoad {
	l := &abroadLoad{t: t, replicas: replicas}
	l.ctx, l.stop = context.WithCancel(t.Context())
	t.Cleanup(l.end)
	for _, r := range replicas {
		for range 2 {
			l.wg.Go(func() { l.readRecords(r) })
		}
		for _, what := range []string{pacedStream, pacedStream, stalledStream} {
			l.wg.Go(func() {
				for l.ctx.Err() == nil {
					l.readDrive(r, what)
				}
			})
		}
	}
	return l
}

func (l *abroadLoad) end() {
	l.stop()
	l.wg.Wait()
}

// stall has the streams that are to be stalled wait until the channel is closed.
func (l *abroadLoad) stall() chan struct{} {
	gate := make(chan struct{})
	l.gate.Store(&gate)
	return gate
}

func (l *abroadLoad) note(s sighting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, s)
}

// refused checks that a read did not pass for a reason that there is, and waits a little:
// refusals are limited per caller.
func (l *abroadLoad) refused(what string, err error) {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded: // paused, or without its database
	case codes.PermissionDenied:
		if reason := reasonOf(err); reason != "CONSENT_WITHDRAWN" && reason != "CROSS_BORDER_CONSENT_REQUIRED" {
			l.t.Errorf("%s: %v", what, err)
		}
	default:
		if l.ctx.Err() == nil {
			l.t.Errorf("%s: %v", what, err)
		}
	}
	select {
	case <-l.ctx.Done():
	case <-time.After(25 * time.Millisecond):
	}
}

func reasonOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return ""
}

func decisionIn(md metadata.MD) string {
	if ids := md.Get("residency-decision-id"); len(ids) == 1 {
		return ids[0]
	}
	return ""
}

func (l *abroadLoad) readRecords(r *replica) {
	records := residencyv1.NewRecordServiceClient(r.us)
	for l.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
		began := time.Now()
		var trailer metadata.MD
		_, err := records.GetRecord(ctx, &residencyv1.GetRecordRequest{
			TenantId: replicaTenant, SubjectId: "s", RecordId: "r", Purpose: payments,
		}, grpc.Trailer(&trailer))
		cancel()
		if err != nil {
			l.refused("GetRecord through "+r.name, err)
			continue
		}
		l.note(sighting{replica: r, what: recordAnswer, decision: decisionIn(trailer), began: began, arrived: []time.Time{time.Now()}})
		r.served.Add(1)
		time.Sleep(5 * time.Millisecond)
	}
}

// readDrive reads the drive once, at a pace at which it lasts.
func (l *abroadLoad) readDrive(r *replica, what string) {
	s := sighting{replica: r, what: what, stream: true, began: time.Now()}
	stream, err := residencyv1.NewDriveServiceClient(r.us).ReadDrive(l.ctx, &residencyv1.ReadDriveRequest{
		TenantId: replicaTenant, DriveId: "d", Purpose: services,
	})
	for err == nil {
		if gate := l.gate.Load(); gate != nil && what == stalledStream {
			<-*gate
		}
		if _, err = stream.Recv(); err == nil {
			s.arrived = append(s.arrived, time.Now())
			r.served.Add(1)
			time.Sleep(20 * time.Millisecond)
		}
	}
	if len(s.arrived) > 0 {
		header, _ := stream.Header() // it came before the first message
		s.decision, s.err = decisionIn(header), err
		l.note(s)
	}
	if !errors.Is(err, io.EOF) {
		l.refused("ReadDrive through "+r.name, err)
	}
}

// log reads every decision of the tenant, and gives the consent of the test's that each allowed one rests on.
// None was decided after the withdrawal of its consent was answered.
func (l *abroadLoad) log(t *testing.T, done map[string]*withdrawal) map[string]string {
	resting := make(map[string]string)
	admin := l.replicas[0].d.dial(t, "admin-ch")
	request := &residencyv1.ListDecisionsRequest{TenantId: replicaTenant, Outcome: residencyv1.Outcome_OUTCOME_ALLOW, PageSize: 200}
	for {
		page, err := admin.Audit.ListDecisions(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Records {
			i := slices.IndexFunc(r.ConsentIds, func(id string) bool { return done[id] != nil })
			if i < 0 || r.Method == residencyv1.ConsentService_GrantConsent_FullMethodName || r.Method == residencyv1.ConsentService_WithdrawConsent_FullMethodName {
				continue
			}
			w := done[r.ConsentIds[i]]
			resting[r.Decision.DecisionId] = r.ConsentIds[i]
			if at := r.Decision.DecideTime.AsTime(); at.After(w.answered) {
				t.Errorf("%s was allowed %v after the withdrawal of its consent was answered", r.Method, at.Sub(w.answered))
			}
		}
		if request.PageToken = page.NextPageToken; request.PageToken == "" {
			return resting
		}
	}
}
