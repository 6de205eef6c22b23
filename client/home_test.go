package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// What has no call under way makes room, and is closed in a while; what has some stays.
func TestConnectionsAreBounded(t *testing.T) {
	j := newJourney(t)
	h := j.c.homes
	var busy []func()
	for i := range maxEndpoints {
		_, release, err := h.take(fmt.Sprintf("127.0.0.1:%d", i+1))
		if err != nil {
			t.Fatal(err)
		}
		busy = append(busy, release)
	}
	_, err := j.get("t")
	wantRefused(t, err, j.home.address, "16 other endpoints")
	busy[3]()
	busy[5]()
	if _, err := j.get("t"); err != nil {
		t.Errorf("there is room: %v", err)
	}
	if h.conns["127.0.0.1:4"] != nil || h.conns["127.0.0.1:6"] == nil || len(h.conns) != maxEndpoints {
		t.Errorf("the one without calls for the longest must go: %d connections", len(h.conns))
	}

	h.mu.Lock()
	h.idle = time.Millisecond
	h.mu.Unlock()
	_, second, err := h.take("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	for _, release := range busy {
		release()
	}
	j.get("t")
	waitFor(t, "connections without calls are closed", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.conns) <= 2 // 127.0.0.1:6 was released before that was made short
	})
	h.mu.Lock()
	kept := h.conns["127.0.0.1:1"] != nil
	h.mu.Unlock()
	if !kept {
		t.Error("a connection was closed under a call")
	}
	second()
	if _, err := j.get("t"); err != nil {
		t.Errorf("after that: %v", err)
	}
	j.c.Close()
	if _, _, err := h.take(j.home.address); !errors.Is(err, errClosed) {
		t.Errorf("a closed client connects: %v", err)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not come true: %s", what)
		}
	}
}

// A stream counts as a call until it has ended, however it ends.
func TestStreamsAreCountedOut(t *testing.T) {
	j := newJourney(t)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := j.c.Drives.ReadDrive(ctx, &residencyv1.ReadDriveRequest{TenantId: "t"})
	if err == nil {
		_, err = s.Recv()
	}
	calls := func() int {
		h := j.c.homes
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.conns[j.home.address].calls
	}
	if err != nil || calls() != 1 {
		t.Fatalf("%v, %d calls", err, calls())
	}
	cancel() // and never received from again
	waitFor(t, "a stream that was left is counted out", func() bool { return calls() == 0 })
	j.c.ReadDriveTo(t.Context(), &residencyv1.ReadDriveRequest{TenantId: "t"}, io.Discard, nil)
	j.get("t")
	if calls() != 0 {
		t.Errorf("%d calls are under way, want none", calls())
	}
}

func TestMemoryIsBounded(t *testing.T) {
	h := newHomes(Options{}, nil)
	for i := range maxRemembered + 10 {
		h.remember(fmt.Sprint(i), home{endpoint: "h:1"})
	}
	if last := fmt.Sprint(maxRemembered + 9); len(h.of) != maxRemembered || h.home(last).endpoint != "h:1" {
		t.Errorf("%d tenants are remembered, the last as %+v", len(h.of), h.home(last))
	}
	h.remember("", home{endpoint: "h:1"})
	if h.home("") != (home{}) {
		t.Error("what names no tenant is remembered")
	}
}

func TestEndpointTarget(t *testing.T) {
	for endpoint, want := range map[string]string{
		"gateway-ch:8443":             "dns:///gateway-ch:8443",
		"gateway.ch.example.org:8443": "dns:///gateway.ch.example.org:8443",
		"unix:8443":                   "dns:///unix:8443", // a name like any other
		"10.0.0.1:1":                  "passthrough:///10.0.0.1:1",
		"[2001:db8::1]:65535":         "passthrough:///[2001:db8::1]:65535",
	} {
		if got, err := endpointTarget(endpoint); err != nil || got != want {
			t.Errorf("%q: %q, %v", endpoint, got, err)
		}
	}
	for _, endpoint := range []string{
		"", ":", ":8443", "host", "host:", "host:0", "host:65536", "host:+1", "host:http", "host:1:2", "unix:/run/x", "dns:///host:1", "unix:///x:1",
		"https://host:1", "user@host:1", "host/path:1", "-host:1", "a..b:1", ".:1", "ho st:1", "host\n:1", "[fe80::1%eth0]:1", "[host]:1x",
		strings.Repeat("a", 64) + ":1", strings.Repeat("a.", 127) + "a:1",
	} {
		if got, err := endpointTarget(endpoint); err == nil {
			t.Errorf("%q was taken for %q", endpoint, got)
		}
	}
}
