package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// A part of a second of every line, so that the program cannot rot. The numbers
// that it finds mean nothing and are not looked at.
func TestQuick(t *testing.T) {
	bin := build(t, "./server/domiciled", "./tools/bench/peer")
	file := filepath.Join(t.TempDir(), "bench.json")
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-bin", bin, "-out", file, "-quick"}, nil, &out); err != nil {
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
	if want := 12 + 4 + 1 + 2; len(got.Lines) != want {
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
	for _, work := range []string{"GetRecord", "PutRecord", "CheckTransfer", "GrantConsent", "ReadDrive", "WriteDrive"} {
		got, err := peer.measure(t.Context(), command{Work: work, Callers: 3, Measure: 50 * time.Millisecond, Shape: s})
		if err != nil {
			t.Fatalf("%s: %v", work, err)
		}
		if got.Calls == 0 || got.Resident == 0 {
			t.Errorf("%s: %d calls, %d bytes resident", work, got.Calls, got.Resident)
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

func TestArgumentsThatAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"-rounds", "0"}, {"-seconds", "0s"}, {"-large", "10"}, {"-lines", "calls,nothing"}, {"-unknown"}, {"load", "-unknown"},
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
