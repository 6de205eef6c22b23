package forward

import (
	"context"
	"crypto/x509"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency"
)

// Whoever cannot prove to be the peer, by a certificate of the authority for that identity alone and good for a server, is
// sent nothing.
func TestOnlyThePeerIsBelieved(t *testing.T) {
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	ended := gatewayLeaf(idThere)
	ended.until = time.Now().Add(-time.Hour)
	for name, tt := range map[string]struct {
		leaf    leaf
		foreign bool // by another authority
		why     string
	}{
		"another identity":  {gatewayLeaf(idHere), false, "not for " + idThere + " alone"},
		"a longer one":      {gatewayLeaf(idThere + "/x"), false, "not for " + idThere + " alone"},
		"two identities":    {gatewayLeaf(idThere, idHere), false, "not for " + idThere + " alone"},
		"no identity":       {gatewayLeaf(), false, "not for " + idThere + " alone"},
		"another authority": {gatewayLeaf(idThere), true, "unknown authority"},
		"no server":         {leaf{[]string{idThere}, client, time.Now().Add(time.Hour)}, false, "incompatible key usage"},
		"it has ended":      {ended, false, "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{t: t, ca: newAuthority(t)}
			by := w.ca
			if tt.foreign {
				by = newAuthority(t)
			}
			w.home = newHome(t, by.files(t.TempDir(), tt.leaf, w.ca), "127.0.0.1:0")
			w.home.get = func(context.Context, *residencyv1.GetRecordRequest) (*residencyv1.GetRecordResponse, error) {
				t.Error("a call was forwarded")
				return nil, status.Error(codes.Internal, "")
			}
			w.run(w.ca.files(t.TempDir(), gatewayLeaf(idHere), w.ca), w.home.address)
			select {
			case up := <-w.told:
				if up {
					t.Fatal("it is up")
				}
			case <-time.After(hang):
				t.Fatal("nobody was told that it is down")
			}
			if _, err := w.unary(t.Context(), call()); residency.KindOf(err) != residency.RegionUnavailable {
				t.Errorf("got %v", err)
			}
			w.until("the log says why", func() bool { return strings.Contains(w.log.String(), tt.why) })
		})
	}
}

// A gateway that could not prove itself to its peers does not start.
func TestOwnCertificate(t *testing.T) {
	ca := newAuthority(t)
	for name, tt := range map[string]struct {
		leaf leaf
		want string
	}{
		"good":              {gatewayLeaf(idHere), ""},
		"for every use":     {leaf{[]string{idHere}, []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, time.Now().Add(time.Hour)}, ""},
		"no use stated":     {leaf{[]string{idHere}, nil, time.Now().Add(time.Hour)}, ""},
		"no identity":       {gatewayLeaf(), "holds 0 URIs, want one"},
		"two identities":    {gatewayLeaf(idHere, idThere), "holds 2 URIs, want one"},
		"the peer's":        {gatewayLeaf(idThere), "is for " + idThere + ", the peer's identity"},
		"no client":         {leaf{[]string{idHere}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, time.Now().Add(time.Hour)}, "clientAuth"},
		"no file, key gone": {gatewayLeaf(idHere), "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			files := ca.files(t.TempDir(), tt.leaf, ca)
			if strings.HasPrefix(name, "no file") {
				if err := os.Remove(files.Key); err != nil {
					t.Fatal(err)
				}
			}
			o := Options{Region: "us", TLS: files}
			o.Peer.Address, o.Peer.Identity = "localhost:1", idThere
			p, err := New(o)
			if tt.want == "" && (err != nil || p == nil) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || p != nil) {
				t.Errorf("got %v, %v; want %q", p, err, tt.want)
			}
		})
	}
}

// renew does what Run does now and then, twice.
func (w *world) renew() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	w.t.Cleanup(func() { cancel(); wg.Wait() })
	w.peer.resolve(ctx, &wg)
	w.until("new connections serve", func() bool {
		w.peer.mu.RLock()
		defer w.peer.mu.RUnlock()
		for _, e := range w.peer.endpoints {
			if e.proof == w.peer.now && e.serves() {
				return true
			}
		}
		return false
	})
	w.peer.resolve(ctx, &wg)
}

// Certificates that are replaced while it runs are taken into use by new connections; what is under way ends on the old ones.
func TestCertificatesAreReplaced(t *testing.T) {
	w := newWorld(t)
	goOn := make(chan struct{})
	w.home.read = leased(func(_ *residencyv1.ReadDriveRequest, s sender) error {
		<-goOn
		return s.Send(&residencyv1.ReadDriveResponse{Data: []byte("late")})
	})
	s := w.open(t.Context(), call())
	if err := s.Begin(); err != nil {
		t.Fatal(err)
	}
	before := w.peer.now
	dir := strings.TrimSuffix(w.tls.Certificate, "tls.crt")
	w.ca.files(dir, gatewayLeaf(idHere), w.ca)
	w.renew()
	w.peer.mu.RLock()
	for _, e := range w.peer.endpoints {
		if e.proof == before || e == s.e {
			t.Error("a connection by the old certificate is used on")
		}
	}
	w.peer.mu.RUnlock()
	close(goOn)
	if data, err := take(t.Context(), s); err != nil || string(data) != "late" {
		t.Errorf("the stream under way gave %q, %v", data, err)
	}

	// Files that do not fit together change nothing.
	if err := os.WriteFile(w.tls.Key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	defer func() { cancel(); wg.Wait() }()
	for range 3 {
		w.peer.resolve(ctx, &wg)
	}
	if !w.peer.Up() {
		t.Error("files that are being replaced took the peer down")
	}

	// An authority that is believed no more: nothing is sent to whom it vouches for.
	w.ca.files(dir, gatewayLeaf(idHere), newAuthority(t))
	w.peer.resolve(ctx, &wg)
	w.peer.resolve(ctx, &wg)
	if w.peer.Up() {
		t.Error("the peer is up without an authority that vouches for it")
	}
	if _, err := w.unary(t.Context(), call()); residency.KindOf(err) != residency.RegionUnavailable {
		t.Errorf("got %v", err)
	}
}
