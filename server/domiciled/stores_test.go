package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/config"
)

// TestClustersShares opens clusters with what operators say of their share of new tenants.
func TestClustersShares(t *testing.T) {
	s := &stores{log: slog.New(slog.DiscardHandler), metrics: newStoreMetrics(prometheus.NewRegistry())}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	five := 5
	for _, tt := range []struct {
		name   string
		weight *int
		closed bool
		want   int
	}{
		{"one", nil, false, 1},
		{"two", &five, false, 5},
		{"three", nil, true, 1},
	} {
		folder := filepath.Join(t.TempDir(), tt.name)
		got, err := s.openCluster("ch", config.Cluster{
			Name: tt.name, Weight: tt.weight, Closed: tt.closed, Rows: "pebble:" + folder + "/rows", Blobs: "file:" + folder + "/blobs",
		})
		if err != nil {
			t.Fatal(err)
		}
		if got.Name != tt.name || got.Weight != tt.want || got.Closed != tt.closed {
			t.Errorf("cluster %q has weight %d, closed %v; want weight %d, closed %v", got.Name, got.Weight, got.Closed, tt.want, tt.closed)
		}
	}
}

// A region's retention comes to the gateway that keeps it.
func TestARegionsRetention(t *testing.T) {
	file := filepath.Join(t.TempDir(), "domicile.yaml")
	text, err := os.ReadFile("../config/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	told := strings.ReplaceAll(string(text), "/var/lib/", t.TempDir()+"/")
	told = strings.Replace(told, "# audit_retention:", "audit_retention:", 1)
	if err := os.WriteFile(file, []byte(told), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &stores{log: slog.New(slog.DiscardHandler), metrics: newStoreMetrics(prometheus.NewRegistry())}
	r, err := s.openRegion(c, "ch")
	if err := errors.Join(err, s.close()); err != nil {
		t.Fatal(err)
	}
	if want := 10 * gateway.MinAuditRetention; r.AuditRetention != want {
		t.Errorf("the region keeps entries for %v, want %v", r.AuditRetention, want)
	}
}
