package main

import (
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/config"
	"github.com/domicile-project/domicile/server/forward"
)

// newPeers makes the way to every region that gateways elsewhere serve. They need not be up.
func newPeers(c *config.Config, reg prometheus.Registerer, log *slog.Logger) (forward.Set, error) {
	up := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "residency_peer_up",
		Help: "Whether a region that gateways elsewhere serve can be reached: 1, or 0 while calls for its tenants are refused.",
	}, []string{"region"})
	reg.MustRegister(up)
	calls := forward.NewMetrics(reg)
	out := forward.Set{}
	for _, name := range regionNames(c) {
		r := c.Regions[name]
		if r.Peer == nil {
			continue
		}
		gauge := up.WithLabelValues(name)
		p, err := forward.New(forward.Options{
			Region: residency.Region(name), Peer: *r.Peer, TLS: c.TLS, Log: log.With(slog.String("component", "peer")),
			Metrics: calls,
			Told: func(up bool) {
				gauge.Set(0)
				if up {
					gauge.Set(1)
				}
			},
		})
		if err != nil {
			return nil, fmt.Errorf("region %s: peer: %w", name, err)
		}
		out[residency.Region(name)] = p
	}
	return out, nil
}

// elsewhereOf gives the gateway the regions that are served elsewhere.
func elsewhereOf(c *config.Config, peers forward.Set) (out []gateway.Elsewhere, err error) {
	for _, name := range regionNames(c) {
		p := peers[residency.Region(name)]
		if p == nil {
			continue
		}
		r := c.Regions[name]
		e := gateway.Elsewhere{Name: residency.Region(name), Controller: r.Controller, Peer: p, Logs: r.Peer.Logs}
		if e.Jurisdiction, err = residency.ParseJurisdiction(r.Jurisdiction); err != nil {
			return nil, err
		}
		if e.Policies, err = c.LoadPolicies(name); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}
