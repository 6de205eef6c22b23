package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/server/config"
	"github.com/domicile-project/domicile/server/forward"
)

const (
	peerUS = "spiffe://example.org/gateways/us"
	peerCH = "spiffe://example.org/gateways/ch"
)

// knownPeers are two peers: the American one may speak for some callers and, as far as its entry goes, for all gateways.
func knownPeers(t testing.TB) map[string]*config.PeerIdentity {
	t.Helper()
	c := config.Config{Regions: map[string]config.Region{
		"us": {Jurisdiction: "US", Peer: &config.Peer{Identity: peerUS, Attests: []string{"spiffe://example.org/us/*", appCH, oneCH, unknown, "spiffe://example.org/gateways/*"}}},
		"ch": {Jurisdiction: "CH", Peer: &config.Peer{Identity: peerCH, Jurisdictions: []string{"CH", "DE"}}},
	}}
	peers, err := c.Peers()
	if err != nil {
		t.Fatal(err)
	}
	return peers
}

func withPeers(t testing.TB) option { return func(o *Options) { o.Peers = knownPeers(t) } }

// witness is a backend that notes on whose behalf it is called, and answers about peers what a test says.
type witness struct {
	Backend
	mu       sync.Mutex
	calls    []gateway.Call
	reserved []residency.Region
	cosigned []string
	lease    time.Duration
}

func (w *witness) note(call *gateway.Call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, *call)
}

func (w *witness) last() (c gateway.Call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.calls) > 0 {
		c = w.calls[len(w.calls)-1]
	}
	w.calls = nil
	return c
}

func (w *witness) GetRecord(_ context.Context, call *gateway.Call, _ gateway.GetRecord) (gateway.Record, error) {
	w.note(call)
	call.Decision.ID, call.Lease = decisionID, w.lease
	return gateway.Record{}, nil
}

func (w *witness) ReadDrive(_ context.Context, call *gateway.Call, _ gateway.ReadDrive, send func([]byte) error) error {
	w.note(call)
	call.Decision.ID, call.Lease = decisionID, w.lease
	call.Decided(call.Decision)
	return send([]byte("data"))
}

func (w *witness) LocateTenant(context.Context, store.Tenant) (gateway.Located, error) {
	return gateway.Located{Here: true}, nil
}

func (w *witness) Cosign(_ context.Context, of, by residency.Region, req gateway.Cosigning) (gateway.Cosigned, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cosigned = append(w.cosigned, fmt.Sprintf("%s by %s: %s from %d with %d hashes", of, by, req.Checkpoint, req.Old, len(req.Proof)))
	return gateway.Cosigned{Known: 7, Keys: []string{"key"}, Contradiction: true}, nil
}

func (w *witness) ReserveTenant(_ context.Context, _ store.Tenant, home residency.Region) (bool, error) {
	w.reserved = append(w.reserved, home)
	return true, nil
}

const decisionID = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"

func newWitness(t testing.TB, more ...option) (*world, *witness) {
	t.Helper()
	v := &witness{}
	w := newWorld(t, append(more, withPeers(t), withBackend(func(b Backend) Backend { v.Backend = b; return v }))...)
	return w, v
}

// attesting is a context whose calls say that they are for somebody.
func attesting(ctx context.Context, callers ...string) context.Context {
	md := metadata.MD{}
	for _, c := range callers {
		md.Append(forward.CallerKey, c)
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// Who is behind a call: the caller that a peer attests, if it may and the caller is known here; else whom the certificate
// names, whatever is said.
func TestAttestation(t *testing.T) {
	w, v := newWitness(t)
	const none = "-"
	for name, tt := range map[string]struct {
		by       string
		attested []string
		caller   string // none = it gets no further
		via      string
		reason   string
	}{
		"a peer, for a caller":               {peerUS, []string{appUS}, appUS, "US", ""},
		"a peer, for a caller of the home":   {peerUS, []string{appCH}, appCH, "US", ""},
		"a peer, for whom it may not":        {peerUS, []string{admCH}, none, "", "USE_HOME_ENDPOINT"},
		"a peer, for nobody who is known":    {peerUS, []string{unknown}, none, "", "NO_IDENTITY"},
		"a peer, for a caller and another":   {peerUS, []string{appUS, appCH}, none, "", "CALLER_NOT_PERMITTED"},
		"a peer, for one caller twice":       {peerUS, []string{appUS, appUS}, none, "", "CALLER_NOT_PERMITTED"},
		"a peer, for nobody":                 {peerUS, []string{""}, none, "", "CALLER_NOT_PERMITTED"},
		"a peer, for two with a comma":       {peerUS, []string{appUS + "," + appUS}, none, "", "NO_IDENTITY"},
		"a peer, for another peer":           {peerUS, []string{peerCH}, none, "", "NO_IDENTITY"},
		"a peer, for itself":                 {peerUS, []string{peerUS}, none, "", "NO_IDENTITY"},
		"a peer, for a path":                 {peerUS, []string{"spiffe://example.org/us/../ch/admin"}, none, "", "NO_IDENTITY"},
		"a peer that attests nobody":         {peerCH, []string{appCH}, none, "", "USE_HOME_ENDPOINT"},
		"a peer, saying nothing":             {peerUS, nil, none, "", "CALLER_NOT_PERMITTED"},
		"a caller, saying it is another":     {appCH, []string{admCH}, appCH, "", ""},
		"a caller, saying it is a peer":      {appCH, []string{peerUS}, appCH, "", ""},
		"a caller, saying nothing":           {appCH, nil, appCH, "", ""},
		"nobody, saying it is a caller":      {unknown, []string{appCH}, none, "", "NO_IDENTITY"},
		"nobody, saying it is a peer":        {unknown, []string{peerUS}, none, "", "NO_IDENTITY"},
		"a caller that may less, by a peer":  {peerUS, []string{oneCH}, none, "", "CALLER_NOT_PERMITTED"},
		"a caller that may less, by another": {oneCH, []string{appCH}, none, "", "CALLER_NOT_PERMITTED"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, ctx := w.as(tt.by), attesting(t.Context(), tt.attested...)
			_, unary := residencyv1.NewRecordServiceClient(conn).GetRecord(ctx, getRequest("other"))
			first := v.last()
			stream := drain(ctx, conn, "other")
			for kind, got := range map[string]struct {
				err  error
				call gateway.Call
			}{"unary": {unary, first}, "stream": {stream, v.last()}} {
				if reason := tell(got.err).reason; reason != tt.reason || tt.reason == "" && got.err != nil {
					t.Errorf("%s: refused with %q (%v), want %q", kind, reason, got.err, tt.reason)
				}
				caller, via := none, ""
				if got.call.Method != "" {
					caller = got.call.Caller.ID
				}
				if got.call.Peer != "" {
					via = fmt.Sprintf("%v", got.call.Via[0])
				}
				if caller != tt.caller || via != tt.via || (got.call.Peer != "") != (len(got.call.Via) > 0) {
					t.Errorf("%s: the gateway was called for %s by way of %q, want %s by %q", kind, caller, via, tt.caller, tt.via)
				}
			}
		})
	}
}

// drain reads a drive to its end.
func drain(ctx context.Context, conn grpc.ClientConnInterface, tenant string) error {
	s, err := residencyv1.NewDriveServiceClient(conn).ReadDrive(ctx, &residencyv1.ReadDriveRequest{
		TenantId: tenant, DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
	})
	for err == nil {
		_, err = s.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// What gateways ask of one another they alone may ask, for themselves, and it is all that they may.
func TestWhatPeersMayAsk(t *testing.T) {
	w, v := newWitness(t)
	ask := func(conn grpc.ClientConnInterface, ctx context.Context) map[string]error {
		c, out := residencyv1.NewPeerServiceClient(conn), map[string]error{}
		_, out["LocateTenant"] = c.LocateTenant(ctx, &residencyv1.LocateTenantRequest{Pseudonym: make([]byte, 16)})
		_, out["ReserveTenant"] = c.ReserveTenant(ctx, &residencyv1.ReserveTenantRequest{Pseudonym: make([]byte, 16), HomeRegion: "us"})
		_, out["ExtendLeases"] = c.ExtendLeases(ctx, &residencyv1.ExtendLeasesRequest{DecisionIds: []string{decisionID}})
		_, out["CosignCheckpoint"] = c.CosignCheckpoint(ctx, cosigning())
		return out
	}
	for name, err := range ask(w.as(peerUS), t.Context()) {
		if err != nil {
			t.Errorf("%s by the peer: %v", name, err)
		}
	}
	for who, ctx := range map[string]context.Context{
		appCH: t.Context(), admCH: attesting(t.Context(), peerUS), peerUS: attesting(t.Context(), appUS),
	} {
		for name, err := range ask(w.as(who), ctx) {
			if tell(err).reason != "CALLER_NOT_PERMITTED" {
				t.Errorf("%s by %s: %v", name, who, err)
			}
		}
	}
	for name, err := range ask(w.as(unknown), t.Context()) {
		if tell(err).reason != "NO_IDENTITY" {
			t.Errorf("%s by nobody: %v", name, err)
		}
	}
	for full, m := range w.server.entrance.methods {
		if m.service == "residency.v1.PeerService" || m.streams {
			continue
		}
		err := w.as(peerUS).Invoke(t.Context(), full, &residencyv1.LocateTenantRequest{}, &residencyv1.LocateTenantResponse{})
		if tell(err).reason != "CALLER_NOT_PERMITTED" {
			t.Errorf("%s by a peer for itself: %v", full, err)
		}
	}
	if !slices.Equal(v.reserved, []residency.Region{"us"}) {
		t.Errorf("reserved for %v", v.reserved)
	}
}

func cosigning() *residencyv1.CosignCheckpointRequest {
	return &residencyv1.CosignCheckpointRequest{
		WitnessRegion: "ch", VerifierKey: "key", OldSize: 5, ConsistencyProof: [][]byte{make([]byte, 32)}, Checkpoint: []byte("checkpoint"),
	}
}

// Whose log it is the connection says, and nothing in the request.
func TestPeersHaveTheirOwnLogsCosigned(t *testing.T) {
	w, v := newWitness(t)
	c := residencyv1.NewPeerServiceClient(w.as(peerUS))
	got, err := c.CosignCheckpoint(t.Context(), cosigning())
	if err != nil || got.GetKnownSize() != 7 || !got.GetContradiction() || got.GetCosignature() != "" || !slices.Equal(got.GetWitnessKeys(), []string{"key"}) {
		t.Errorf("%v, %v", got, err)
	}
	if !slices.Equal(v.cosigned, []string{"us by ch: checkpoint from 5 with 1 hashes"}) {
		t.Errorf("asked for %q", v.cosigned)
	}
	for what, change := range map[string]func(*residencyv1.CosignCheckpointRequest){
		"no region":            func(r *residencyv1.CosignCheckpointRequest) { r.WitnessRegion = "" },
		"no key":               func(r *residencyv1.CosignCheckpointRequest) { r.VerifierKey = "" },
		"a long key":           func(r *residencyv1.CosignCheckpointRequest) { r.VerifierKey = strings.Repeat("x", 513) },
		"a size below nothing": func(r *residencyv1.CosignCheckpointRequest) { r.OldSize = -1 },
		"half a hash":          func(r *residencyv1.CosignCheckpointRequest) { r.ConsistencyProof[0] = make([]byte, 31) },
		"too many hashes": func(r *residencyv1.CosignCheckpointRequest) {
			r.ConsistencyProof = slices.Repeat(r.ConsistencyProof, 65)
		},
		"no checkpoint":         func(r *residencyv1.CosignCheckpointRequest) { r.Checkpoint = nil },
		"too long a checkpoint": func(r *residencyv1.CosignCheckpointRequest) { r.Checkpoint = make([]byte, 16385) },
	} {
		req := cosigning()
		change(req)
		if _, err := c.CosignCheckpoint(t.Context(), req); tell(err).reason != "BAD_REQUEST" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A peer's questions have a form, and it takes names for its own region alone.
func TestTheFormOfAPeersQuestions(t *testing.T) {
	w, v := newWitness(t)
	c := residencyv1.NewPeerServiceClient(w.as(peerUS))
	for _, n := range []int{0, 15, 17, 1024} {
		_, err := c.LocateTenant(t.Context(), &residencyv1.LocateTenantRequest{Pseudonym: make([]byte, n)})
		if tell(err).reason != "BAD_REQUEST" {
			t.Errorf("a pseudonym of %d bytes: %v", n, err)
		}
	}
	for _, region := range []string{"ch", "", "US", "us ", "de"} {
		_, err := c.ReserveTenant(t.Context(), &residencyv1.ReserveTenantRequest{Pseudonym: make([]byte, 16), HomeRegion: region})
		if tell(err).reason != "BAD_REQUEST" {
			t.Errorf("a name for region %q: %v", region, err)
		}
	}
	many := make([]string, 1025)
	for i := range many {
		many[i] = decisionID
	}
	for what, ids := range map[string][]string{"too many": many, "no decision": {"x"}, "an empty one": {""}} {
		if _, err := c.ExtendLeases(t.Context(), &residencyv1.ExtendLeasesRequest{DecisionIds: ids}); tell(err).reason != "BAD_REQUEST" {
			t.Errorf("%s: %v", what, err)
		}
	}
	got, err := c.ExtendLeases(t.Context(), &residencyv1.ExtendLeasesRequest{DecisionIds: many[:1024]})
	if err != nil || len(got.GetLeases()) != 1024 || !got.GetLeases()[0].GetOver() {
		t.Errorf("as many as may be asked for: %d, %v", len(got.GetLeases()), err)
	}
	if len(v.reserved) != 0 {
		t.Errorf("reserved for %v", v.reserved)
	}
}

// A peer learns for how long what it gets may be passed on; a caller is told nothing of it.
func TestLeasesGoToPeers(t *testing.T) {
	w, v := newWitness(t)
	for name, tt := range map[string]struct {
		by    string
		ctx   context.Context
		lease time.Duration
		want  []string
	}{
		"a peer":                  {peerUS, attesting(t.Context(), appUS), 700 * time.Millisecond, []string{"700"}},
		"a peer, hardly any left": {peerUS, attesting(t.Context(), appUS), time.Microsecond, []string{"0"}},
		"a peer, where none is":   {peerUS, attesting(t.Context(), appUS), 0, nil},
		"a caller":                {appCH, t.Context(), 700 * time.Millisecond, nil},
	} {
		t.Run(name, func(t *testing.T) {
			v.lease = tt.lease
			var trailer, header metadata.MD
			conn := w.as(tt.by)
			if _, err := residencyv1.NewRecordServiceClient(conn).GetRecord(tt.ctx, getRequest("acme"), grpc.Trailer(&trailer)); err != nil {
				t.Fatal(err)
			}
			s, err := residencyv1.NewDriveServiceClient(conn).ReadDrive(tt.ctx, &residencyv1.ReadDriveRequest{TenantId: "acme", DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION})
			if err == nil {
				header, err = s.Header()
			}
			if err != nil {
				t.Fatal(err)
			}
			for where, md := range map[string]metadata.MD{"trailer": trailer, "header": header} {
				if !slices.Equal(md.Get(forward.LeaseKey), tt.want) || !slices.Equal(md.Get(forward.DecisionKey), []string{decisionID}) {
					t.Errorf("the %s is %v, want the lease %v", where, md, tt.want)
				}
			}
		})
	}
}

// Callers that take up all the room keep no peer from asking for its streams' leases, or whether the gateway serves.
func TestPeersHaveRoomOfTheirOwn(t *testing.T) {
	w, _ := newWitness(t, withLimits(func(l *config.Limits) { l.InFlight = 1 }))
	watch := w.as(appCH)
	stream, err := watch.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, residencyv1.DriveService_WriteDrive_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	overloaded := func(id string) bool {
		_, err := residencyv1.NewGatewayServiceClient(w.as(id)).GetGateway(t.Context(), &residencyv1.GetGatewayRequest{})
		return tell(err).reason == "OVERLOADED"
	}
	for end := time.Now().Add(10 * time.Second); !overloaded(admCH); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the room is not taken")
		}
	}
	conn := w.as(peerUS)
	if _, err := residencyv1.NewPeerServiceClient(conn).ExtendLeases(t.Context(), &residencyv1.ExtendLeasesRequest{}); err != nil {
		t.Errorf("leases: %v", err)
	}
	if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	_, err = residencyv1.NewRecordServiceClient(conn).GetRecord(attesting(t.Context(), appUS), getRequest("acme"))
	if tell(err).reason != "OVERLOADED" {
		t.Errorf("a call for a caller takes the room of peers: %v", err)
	}
	_ = stream.CloseSend() // it ends with the test
}
