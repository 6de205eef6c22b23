package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

const secret = "Geheimnis"

func serve(t *testing.T, ready func(context.Context) error, healthy func() error) string {
	t.Helper()
	s := New(Options{Ready: ready, Healthy: healthy, Metrics: NewRegistry("v1"), Name: "zrh-1", Version: "v1", GRPC: "127.0.0.1:8443", Jurisdictions: []string{"CH", "US"}})
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(lis) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := errors.Join(s.Close(ctx), <-done); err != nil {
			t.Error(err)
		}
	})
	return "http://" + lis.Addr().String()
}

func get(t *testing.T, method, url, host string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

func TestPaths(t *testing.T) {
	var state error
	base := serve(t, func(context.Context) error { return state }, nil)
	region := &Problem{Shown: []string{"region ch: rows"}, Err: errors.New(secret)}
	for _, tt := range []struct {
		method, path, host string
		state              error
		code               int
		part               string
	}{
		{"GET", "/healthz", "", errors.New(secret), 200, "ok"},
		{"GET", "/readyz", "", nil, 200, "ready"},
		{"GET", "/readyz", "", errors.New(secret), 503, "not ready\n"},
		{"GET", "/readyz", "", fmt.Errorf("%s: %w", secret, region), 503, "not ready\nregion ch: rows\n"},
		{"GET", "/metrics", "", nil, 200, `domicile_build_info{goversion="go`},
		{"GET", "/metrics", "", nil, 200, "process_cpu_seconds_total"},
		{"GET", "/", "", nil, 200, `<a href="/metrics">Metrics</a>`},
		{"GET", "/", "", nil, 200, "CH, US (one process serves several jurisdictions)"},
		{"GET", "/other", "", nil, 404, ""},
		{"POST", "/metrics", "", nil, 405, ""},
		{"GET", "/metrics", "evil.example", nil, 421, "loopback"},
		{"GET", "/healthz", "localhost:1", nil, 200, "ok"},
		{"GET", "/healthz", "[::1]:1", nil, 200, "ok"},
	} {
		state = tt.state
		code, body, header := get(t, tt.method, base+tt.path, tt.host)
		if code != tt.code || !strings.Contains(body, tt.part) || strings.Contains(body, secret) {
			t.Errorf("%s %s (%s): %d\n%.200s\nwant %d with %q", tt.method, tt.path, tt.host, code, body, tt.code, tt.part)
		}
		for _, h := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Cache-Control"} {
			if header.Get(h) == "" {
				t.Errorf("%s %s: no %s", tt.method, tt.path, h)
			}
		}
	}
}

func TestHealth(t *testing.T) {
	var health error
	base := serve(t, func(context.Context) error { return nil }, func() error { return health })
	health = &Problem{Shown: []string{"region us: keys"}, Err: errors.New(secret)}
	if code, body, _ := get(t, "GET", base+"/healthz", ""); code != 503 || body != "not ok\nregion us: keys\n" {
		t.Errorf("after a stop for good: %d %q", code, body)
	}
	if code, body, _ := get(t, "GET", base+"/readyz", ""); code != 200 || body != "ready\n" {
		t.Errorf("readyz: %d %q", code, body)
	}
}

func TestOffLoopbackIsRefused(t *testing.T) {
	s := New(Options{Metrics: NewRegistry("v1"), Ready: func(context.Context) error { return nil }})
	lis, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	if err := s.Serve(lis); err == nil || !strings.Contains(err.Error(), "no loopback address") {
		t.Errorf("got %v", err)
	}
}

func TestMetricsAreWellNamed(t *testing.T) {
	reg := NewRegistry("v1")
	families, err := prometheus.Gatherers{reg}.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "domicile_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
