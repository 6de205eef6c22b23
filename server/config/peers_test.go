package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/domicile-project/domicile/residency"
)

// withPeer is a configuration of a Swiss gateway whose peer serves the American region.
const withPeer = `gateway: {name: zrh-1, jurisdiction: CH, listen: "127.0.0.1:8443", admin_listen: "127.0.0.1:9464"}
tls: {certificate: server.crt, key: server.key, client_ca: clients.crt}
regions:
  ch:
    jurisdiction: CH
    controller: CloudSigma AG
    endpoint: "gateway-ch:8443"
    policies: [ch-2012-05-02.yaml]
    keys: "file:keys/ch"
    clusters:
      - {name: zrh-1, location: CH, owner: CloudSigma AG, rows: "pebble:ch/rows", blobs: "file:ch/blobs"}
  us:
    jurisdiction: US
    controller: CloudSigma Inc
    policies: [us-2011-10-07.yaml]
    peer: {address: "us-1:8443, us-2:8443", identity: "spiffe://example.org/gateway-us", attests: ["spiffe://example.org/us/*"]}
directory: "pebble:directory"
directory_key: "file:keys/directory.key"
callers:
  - {id: "spiffe://example.org/us/billing", jurisdiction: US, permissions: [records.read], tenants: ["*"], party: provider}
`

func TestPeersAreRead(t *testing.T) {
	c, err := load(t, withPeer)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Regions["us"].Peer.Addresses(); !slices.Equal(got, []string{"us-1:8443", "us-2:8443"}) {
		t.Errorf("addresses %q", got)
	}
	peers, err := c.Peers()
	if err != nil || len(peers) != 1 {
		t.Fatal(peers, err)
	}
	p := peers["spiffe://example.org/gateway-us"]
	if p == nil || p.Region != "us" || !slices.Equal(p.Jurisdictions, []residency.Jurisdiction{{'U', 'S'}}) {
		t.Errorf("read as %+v", p)
	}
}

// What is unsafe about a peer is refused, saying where and what would be right.
func TestPeersThatAreRefused(t *testing.T) {
	const at = "regions.us.peer."
	for name, tt := range map[string]struct{ old, new, want string }{
		"no address":            {`"us-1:8443, us-2:8443"`, `""`, at + "address: is required"},
		"an address without":    {`us-2:8443`, `us-2`, at + "address: want host:port"},
		"one empty address":     {`us-1:8443, us-2:8443`, `us-1:8443,`, at + "address: want host:port"},
		"every address":         {`us-2:8443`, `:8443`, at + "address: want host:port"},
		"no identity":           {`identity: "spiffe://example.org/gateway-us"`, `identity: ""`, at + "identity: want an absolute URI"},
		"a name":                {`identity: "spiffe://example.org/gateway-us"`, `identity: gateway-us`, at + "identity: want an absolute URI"},
		"everybody":             {`spiffe://example.org/us/*`, `*`, at + "attests[0]: want a caller's URI"},
		"every trust domain":    {`spiffe://example.org/us/*`, `spiffe://*`, at + "attests[0]: want a caller's URI"},
		"every trust domain, 2": {`spiffe://example.org/us/*`, `spiffe:///*`, at + "attests[0]: want a caller's URI"},
		"half a name":           {`spiffe://example.org/us/*`, `spiffe://example.org/us*`, at + "attests[0]: want a caller's URI"},
		"nobody":                {`"spiffe://example.org/us/*"`, `""`, at + "attests[0]: want a caller's URI"},
		"a place":               {`attests: [`, `jurisdictions: [XX], attests: [`, at + "jurisdictions[0]: not an officially"},
		"a place elsewhere":     {`attests: [`, `jurisdictions: [CH], attests: [`, at + "jurisdictions: must hold the region's own, US"},
		"a peer that calls":     {"spiffe://example.org/us/billing", "spiffe://example.org/gateway-us", "callers[0].id: is the identity of region us's peer"},
		"no endpoint":           {"    endpoint: \"gateway-ch:8443\"\n", "", "regions.ch.endpoint: is required: a peer may forward calls here"},
		"too few streams":       {"callers:", "limits: {streams_per_connection: 255}\ncallers:", "limits.streams_per_connection: want at least 256"},
		"no peer's keys":        {"    peer:", "    keys: \"file:keys/us\"\n    peer:", "regions.us: is served by its peer"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(withPeer, tt.old, tt.new, 1)
			if text == withPeer {
				t.Fatal("nothing was changed")
			}
			if _, err := load(t, text); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	second := `  de:
    jurisdiction: DE
    controller: CloudSigma GmbH
    peer: {address: "de-1:8443", identity: "spiffe://example.org/gateway-us"}
directory: `
	if _, err := load(t, strings.Replace(withPeer, "directory: ", second, 1)); err == nil || !strings.Contains(err.Error(), "is region de's already") {
		t.Errorf("one identity for two regions: %v", err)
	}
	silent := strings.Replace(strings.Replace(withPeer, `, attests: ["spiffe://example.org/us/*"]`, "", 1), "callers:", "limits: {streams_per_connection: 255}\ncallers:", 1)
	if _, err := load(t, strings.Replace(silent, "    endpoint: \"gateway-ch:8443\"\n", "", 1)); err != nil {
		t.Errorf("a peer that may forward nothing here needs neither room nor an endpoint: %v", err)
	}
}

func TestAttests(t *testing.T) {
	p := &PeerIdentity{attests: []string{"spiffe://example.org/us/*", "spiffe://example.org/ch/app"}}
	for caller, want := range map[string]bool{
		"spiffe://example.org/us/app":        true,
		"spiffe://example.org/us/a/b":        true,
		"spiffe://example.org/ch/app":        true,
		"":                                   false,
		"*":                                  false,
		"spiffe://example.org/us/":           false,
		"spiffe://example.org/us":            false,
		"spiffe://example.org/usa/app":       false,
		"spiffe://example.org/US/app":        false,
		"spiffe://example.org.evil/us/app":   false,
		"spiffe://evil/spiffe://example.org": false,
		" spiffe://example.org/us/app":       false,
		"spiffe://example.org/ch/app/x":      false,
		"spiffe://example.org/ch/ap":         false,
	} {
		if got := p.Attests(caller); got != want {
			t.Errorf("%q: %v, want %v", caller, got, want)
		}
	}
	if (&PeerIdentity{}).Attests("spiffe://example.org/us/app") {
		t.Error("a peer that may attest nobody attests")
	}
}
