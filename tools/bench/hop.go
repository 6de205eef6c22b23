package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// hop measures what entering by a gateway of the other region adds to a call,
// against what a plain proxy adds: records of Switzerland are read by a caller in the United
// States, to whom a consent lets them cross, at their home directly, through the American gateway, and through
// haproxy. HTTP/2 and TLS with certificates on both sides everywhere.
//
// haproxy does less: it ends the caller's TLS and calls the gateway with one
// certificate of its own (here the same caller's), so the gateway cannot tell callers apart; it neither
// parses nor checks what it passes on, attests nobody, and records nothing.
func (b *bench) hop(ctx context.Context) error {
	s := shape{Tenants: 10, Subjects: 1000, Records: 2}
	if b.quick {
		s = shape{Tenants: 2, Subjects: 5, Records: 2}
	}
	home, us, err := b.regions(ctx)
	if err != nil {
		return err
	}
	g, err := home.start(ctx)
	if err != nil {
		return err
	}
	defer g.stop()
	direct := contender{server: g, shape: s}
	entrance, err := us.start(ctx)
	if err != nil {
		return err
	}
	defer entrance.stop()
	entrance.also = []*process{g.process}
	for _, s := range []*server{g, entrance} {
		if _, err := s.measure(ctx, command{Work: "await regions", Callers: 1}); err != nil {
			return err
		}
	}
	if err := direct.fill(ctx); err != nil {
		return err
	}
	proxy, err := b.startProxy(ctx, home)
	if err != nil {
		return err
	}
	defer proxy.stop()
	proxy.also = []*process{g.process}
	for _, callers := range b.callers {
		if err := b.hops(ctx, callers, direct, contender{server: entrance, shape: s}, contender{server: proxy, shape: s}); err != nil {
			return err
		}
	}
	return nil
}

// hops measures one number of callers. The last line has what each hop adds.
func (b *bench) hops(ctx context.Context, callers int, direct, entrance, proxy contender) error {
	l := line{Work: "GetRecord from abroad", Callers: callers}
	if !b.wanted(l) {
		return nil
	}
	samples, err := b.samples(ctx, l, direct, entrance, proxy)
	if err != nil {
		return err
	}
	at, peer, plain := samples[0], samples[1], samples[2]
	for _, c := range []struct {
		what, against string
		own, other    []sample
	}{{"by a peer", "directly", peer, at}, {"by haproxy", "directly", plain, at}} {
		one := line{Work: l.Work + ", " + c.what, Callers: callers, Against: c.against}
		for _, q := range []quantity{median, nine, cpuPerCall, rate} {
			one.Metrics = append(one.Metrics, q.compared(c.own, c.other))
		}
		b.add(one)
	}
	added := line{Work: l.Work + ", added by a peer", Callers: callers, Against: "added by haproxy"}
	for _, q := range []quantity{median, nine, cpuPerCall} {
		added.Metrics = append(added.Metrics, q.added(at, peer, plain))
	}
	b.add(added)
	return nil
}

// regions makes the configurations of two gateways, each the peer of the other,
// with one authority and the identities of the first.
func (b *bench) regions(ctx context.Context) (ch, us *installation, err error) {
	if ch, err = b.install(ctx, b.bin, "hop-ch"); err != nil {
		return nil, nil, err
	}
	if us, err = b.install(ctx, b.bin, "hop-us"); err != nil {
		return nil, nil, err
	}
	for _, i := range []*installation{ch, us} {
		if i.address, err = freeAddress(); err != nil {
			return nil, nil, err
		}
	}
	us.identities = ch.identities
	us.settings["directory_key"] = ch.settings["directory_key"]
	if err := ch.peerOf(ctx, us, "ch", "us"); err != nil {
		return nil, nil, err
	}
	return ch, us, us.peerOf(ctx, ch, "us", "ch")
}

// peerOf leaves the other region to the gateway that serves it.
func (i *installation) peerOf(ctx context.Context, other *installation, own, foreign string) error {
	certificate, key, err := certify(i.identities, gatewayURI(own), filepath.Join(i.data, "gateway"))
	if err != nil {
		return err
	}
	i.settings["tls"] = map[string]any{"certificate": certificate, "key": key, "client_ca": filepath.Join(i.identities, "ca.crt")}
	gateway := i.settings["gateway"].(map[string]any)
	gateway["name"] = own
	here, _ := i.region(own)
	gateway["jurisdiction"] = here["jurisdiction"]
	here["endpoint"] = i.address
	there, _ := i.region(foreign)
	delete(there, "keys")
	delete(there, "clusters")
	there["peer"] = map[string]any{
		"address": other.address, "identity": gatewayURI(foreign), "attests": []string{"spiffe://domicile.local/ch/*", "spiffe://domicile.local/us/*"},
	}
	return i.write(ctx)
}

func gatewayURI(region string) string { return "spiffe://domicile.local/gateway-" + region }

// startProxy starts haproxy in front of a gateway.
func (b *bench) startProxy(ctx context.Context, to *installation) (*server, error) {
	program, err := exec.LookPath("haproxy")
	if err != nil {
		return nil, fmt.Errorf("haproxy is missing: `make bench` installs it, on Debian apt-get install haproxy: %w", err)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(b.dir)
	if err != nil {
		return nil, err
	}
	for name, of := range map[string]string{"own.pem": "server", "caller.pem": "app-us"} {
		if err := joined(filepath.Join(dir, name), filepath.Join(to.identities, of)); err != nil {
			return nil, err
		}
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, fmt.Appendf(nil, proxyConfig, address, dir, to.address, filepath.Join(to.identities, "ca.crt")), 0o600); err != nil {
		return nil, err
	}
	p, err := start(ctx, program, "-q", "-db", "-f", file)
	if err != nil {
		return nil, err
	}
	go drain(p.out)
	if err := listening(ctx, address); err != nil {
		p.stop()
		return nil, fmt.Errorf("haproxy: %w", err)
	}
	return loaded(ctx, p, identities(to.identities, address))
}

// proxyConfig takes where to listen, the folder of certificates, the gateway, and
// the authority.
const proxyConfig = `global
  nbthread 2
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-server-options ssl-min-ver TLSv1.3
defaults
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 1m
listen gateway
  bind %[1]s ssl crt %[2]s/own.pem ca-file %[4]s verify required alpn h2
  server home %[3]s ssl crt %[2]s/caller.pem ca-file %[4]s verify required alpn h2
`

// joined writes a certificate and its key into one file.
func joined(file, base string) error {
	certificate, err := os.ReadFile(base + ".crt")
	if err != nil {
		return err
	}
	key, err := os.ReadFile(base + ".key")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(certificate, key...), 0o600)
}
