package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/domicile-project/domicile/residency"
)

// elsewhere checks a region that gateways elsewhere serve.
func (v *validation) elsewhere(p path, r Region) {
	if r.Keys != "" || r.KeyStore != "" || len(r.Clusters) > 0 || len(r.Witnesses) > 0 || r.AuditRetention != 0 {
		v.bad(p, "is served by its peer: keys, key_store, clusters, witnesses and audit_retention belong into the configuration of that")
	}
	at := p.with("peer")
	if v.required(at.with("address"), r.Peer.Address) {
		for _, address := range r.Peer.Addresses() {
			if v.address(at.with("address"), address) && strings.HasPrefix(address, ":") {
				v.bad(at.with("address"), "want host:port, for example gateway-us:8443")
			}
		}
	}
	if !isIdentity(r.Peer.Identity) {
		v.bad(at.with("identity"), `want an absolute URI, for example "spiffe://example.org/us/gateway"`)
	}
	for i, pattern := range r.Peer.Attests {
		if !isIdentity(strings.TrimSuffix(pattern, "*")) || strings.HasSuffix(pattern, "*") && !strings.HasSuffix(pattern, "/*") {
			v.bad(at.with("attests", i), `want a caller's URI, or the beginning of some and "/*", for example "spiffe://example.org/us/*"`)
		}
	}
	v.logKeys(at.with("logs"), fmt.Sprint(p[len(p)-1]), r.Peer.Logs)
	for i, j := range r.Peer.Jurisdictions {
		v.jurisdiction(at.with("jurisdictions", i), j)
	}
	if len(r.Peer.Jurisdictions) > 0 && !slices.Contains(r.Peer.Jurisdictions, r.Jurisdiction) {
		v.bad(at.with("jurisdictions"), "must hold the region's own, %s: its gateways hold its keys, so plaintext exists there", r.Jurisdiction)
	}
}

// peerStreams is how many calls a peer may make at once on one connection, with room for what
// it asks for itself.
const peerStreams = 256

// Addresses lists the host:ports of the peer's gateways.
func (p *Peer) Addresses() []string {
	var out []string
	for address := range strings.SplitSeq(p.Address, ",") {
		out = append(out, strings.TrimSpace(address))
	}
	return out
}

// peers checks what regions with a peer mean for the others: somebody serves at least one here,
// no identity is two things, and who is sent home can be told where that is.
func (v *validation) peers(c *Config) {
	served, forwarded := 0, false
	identities := map[string]string{}
	for _, name := range sortedNames(c.Regions) {
		r := c.Regions[name]
		if r.Peer == nil {
			served++
			continue
		}
		forwarded = forwarded || len(r.Peer.Attests) > 0
		if other, there := identities[r.Peer.Identity]; there {
			v.bad(path{"regions", name, "peer", "identity"}, "is region %s's already: the gateways of each region have an identity of their own", other)
		}
		identities[r.Peer.Identity] = name
	}
	if len(c.Regions) > 0 && served == 0 {
		v.bad(path{"regions"}, "every region has a peer: at least one must be served here")
	}
	if forwarded && c.Limits.StreamsPerConnection < peerStreams {
		v.bad(path{"limits", "streams_per_connection"}, "want at least %d: a peer's calls share a few connections, and what it asks for its streams must not wait behind them", peerStreams)
	}
	for i, caller := range c.Callers {
		if name, there := identities[caller.ID]; there {
			v.bad(path{"callers", i, "id"}, "is the identity of region %s's peer, which forwards calls and makes none", name)
		}
	}
	for _, name := range sortedNames(c.Regions) {
		if r := c.Regions[name]; forwarded && r.Peer == nil && r.Endpoint == "" {
			v.bad(path{"regions", name, "endpoint"}, "is required: a peer may forward calls here, and one that may not come that way is told where to go")
		}
	}
}

// PeerIdentity is a peer, read.
type PeerIdentity struct {
	Identity      string
	Region        residency.Region
	Jurisdictions []residency.Jurisdiction // where plaintext of what passes through it exists
	attests       []string
}

// Attests reports whether the peer may speak for a caller.
func (p *PeerIdentity) Attests(caller string) bool {
	return slices.ContainsFunc(p.attests, func(pattern string) bool {
		prefix, all := strings.CutSuffix(pattern, "*")
		return all && strings.HasPrefix(caller, prefix) && len(caller) > len(prefix) || caller == pattern
	})
}

// Peers reads the peers, by identity. The configuration must have been validated.
func (c *Config) Peers() (map[string]*PeerIdentity, error) {
	out := map[string]*PeerIdentity{}
	for name, r := range c.Regions {
		if r.Peer == nil {
			continue
		}
		p := &PeerIdentity{Identity: r.Peer.Identity, Region: residency.Region(name), attests: r.Peer.Attests}
		places := r.Peer.Jurisdictions
		if len(places) == 0 {
			places = []string{r.Jurisdiction}
		}
		for _, code := range places {
			j, err := residency.ParseJurisdiction(code)
			if err != nil {
				return nil, err
			}
			p.Jurisdictions = append(p.Jurisdictions, j)
		}
		out[p.Identity] = p
	}
	return out, nil
}
