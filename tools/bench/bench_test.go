package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The load generator is this program started again, and in a test this program
// is the test.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "load" {
		if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// build builds programs of this module into a folder.
func build(t *testing.T, packages ...string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", append([]string{"build", "-o", dir}, packages...)...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

// tools gives the folder of what tools/setup installs. Without it the test is
// skipped, unless the environment says where it must be.
func tools(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("DOMICILE_TOOLS")
	if dir != "" {
		return dir
	}
	dir = filepath.Join("..", "..", ".tools", "bin")
	_, bucket := os.Stat(filepath.Join(dir, "versitygw"))
	_, proxy := exec.LookPath("haproxy")
	if err := errors.Join(bucket, proxy); err != nil {
		t.Skipf("`make test` installs what is missing: %v", err)
	}
	return dir
}

// A part of a second of every line, so that the program cannot rot. The numbers
// that it finds mean nothing and are not looked at.
func TestQuick(t *testing.T) {
	bin := build(t, "./server/domiciled", "./tools/bench/peer", "./tools/bench/tree")
	file := filepath.Join(t.TempDir(), "bench.json")
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-bin", bin, "-tools", tools(t), "-out", file, "-quick"}, nil, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	t.Logf("\n%s", out.String())
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got result
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if want := 12 + 4 + 1 + 2 + 2*6 + 6 + 2*4 + 3*3 + 2*2; len(got.Lines) != want {
		t.Errorf("%d lines, want %d", len(got.Lines), want)
	}
	for _, l := range got.Lines {
		for _, m := range l.Metrics {
			if len(m.Own) != 1 || len(m.Other) != 1 {
				t.Errorf("%s, %d callers: %s has %d and %d values, want one round of each", l.Work, l.Callers, m.Name, len(m.Own), len(m.Other))
			}
		}
	}
	left, err := filepath.Glob(filepath.Join(bin, "bench-data-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestPeerCarriesLoad(t *testing.T) {
	bin := build(t, "./tools/bench/peer")
	peer, err := startPeer(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.stop()
	s := shape{Tenants: 1, Subjects: 3, Records: 2, Drives: 1, DriveBytes: 1 << 20}
	b := &bench{seconds: 50 * time.Millisecond}
	for _, work := range []string{"GetRecord", "PutRecord", "CheckTransfer", "GrantConsent", "ReadDrive", "WriteDrive"} {
		got, err := b.round(t.Context(), line{Work: work, Callers: 3}, contender{server: peer, shape: s})
		if err != nil {
			t.Fatalf("%s: %v", work, err)
		}
		if got.Resident == 0 || got.Took < b.seconds || got.Calls > 0 && (got.Median == 0 || got.Nine < got.Median) {
			t.Errorf("%s: %+v", work, got)
		}
	}
	got, err := peer.measure(t.Context(), command{Work: "make records", Callers: 4, Shape: s})
	if err != nil {
		t.Fatal(err)
	}
	if got.Calls != uint64(s.count()) {
		t.Errorf("made %d records, want %d", got.Calls, s.count())
	}
	_, err = peer.measure(t.Context(), command{Work: "make tenants", Callers: 1, Shape: s})
	if err == nil || !strings.Contains(err.Error(), "Unimplemented") {
		t.Errorf("a call that fails: %v, want the call's own error", err)
	}
}

// Round trips are counted whatever pieces the messages arrive in.
func TestRoundTrips(t *testing.T) {
	message := func(kind byte, body string) string {
		return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body)))) + body
	}
	sent := message(0, "user\x00S\x00Q")[1:] + message('Q', "begin") + message('P', "SSSS") + message('B', "") + message('E', "Q") + message('S', "") + message('X', "")
	for size := 1; size <= len(sent); size++ {
		var n atomic.Uint64
		f := &frontend{trips: &n}
		for left := []byte(sent); len(left) > 0; left = left[min(size, len(left)):] {
			if _, err := f.Write(left[:min(size, len(left))]); err != nil {
				t.Fatal(err)
			}
		}
		if n.Load() != 2 {
			t.Errorf("in pieces of %d bytes: %d round trips, want 2", size, n.Load())
		}
	}
	if _, err := (&frontend{trips: new(atomic.Uint64)}).Write([]byte{0, 0, 0, 3}); err == nil {
		t.Error("a message shorter than its length: no error")
	}
}

func TestArgumentsThatAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"-rounds", "0"}, {"-seconds", "0s"}, {"-large", "10"}, {"-lines", "calls,nothing"}, {"-unknown"}, {"-callers", "1,0"}, {"-callers", ""}, {"load", "-unknown"},
	} {
		if err := run(t.Context(), args, strings.NewReader(""), &bytes.Buffer{}); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want spread
	}{
		{nil, spread{}},
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{4, 1}, spread{1, 2.5, 4}},
		{[]float64{9, 1, 5}, spread{1, 5, 9}},
	} {
		if got := spreadOf(c.of); got != c.want {
			t.Errorf("spreadOf(%v) = %v, want %v", c.of, got, c.want)
		}
	}
}
