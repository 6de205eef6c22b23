package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml"
)

// installation is a gateway with a configuration file: the embedded default's,
// changed. Its identities are those of the embedded default.
type installation struct {
	program, data, file string
	identities          string // the folder of the callers' and the authority's
	address             string // where it serves; "" = where it is free
	settings            map[string]any
}

// install makes identities and keys by a first start of the embedded default, and
// reads its configuration.
func (b *bench) install(ctx context.Context, bin, name string) (*installation, error) {
	data, err := filepath.Abs(filepath.Join(b.dir, name))
	if err != nil {
		return nil, err
	}
	i := &installation{
		program: filepath.Join(bin, "domiciled"), data: data, file: filepath.Join(data, "gateway.yaml"), identities: filepath.Join(data, "identity"),
	}
	p, _, err := serveEmbedded(ctx, bin, i.data)
	if err != nil {
		return nil, err
	}
	p.stop()
	text, err := exec.CommandContext(ctx, i.program, "--print-config", "--data", i.data).Output() //nolint:gosec // the program is the benchmark's own
	if err != nil {
		return nil, fmt.Errorf("domiciled --print-config: %w", err)
	}
	return i, yaml.Unmarshal(text, &i.settings)
}

// region gives a region's settings and those of its first cluster.
func (i *installation) region(name string) (region, cluster map[string]any) {
	region = i.settings["regions"].(map[string]any)[name].(map[string]any)
	return region, region["clusters"].([]any)[0].(map[string]any)
}

// drop leaves a region out.
func (i *installation) drop(region string) { delete(i.settings["regions"].(map[string]any), region) }

// write writes the configuration and brings the tables of its databases up to date.
func (i *installation) write(ctx context.Context) error {
	text, err := yaml.Marshal(i.settings)
	if err != nil {
		return err
	}
	if err := os.WriteFile(i.file, text, 0o600); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, i.program, "migrate", "--config", i.file).CombinedOutput() //nolint:gosec // see above
	if err != nil {
		return fmt.Errorf("domiciled migrate: %w\n%s", err, out)
	}
	return nil
}

// start starts the gateway and waits until it takes connections.
func (i *installation) start(ctx context.Context) (*server, error) {
	address := i.address
	if address == "" {
		var err error
		if address, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	p, err := start(ctx, i.program, "--config", i.file, "--listen", address, "--admin-listen", "127.0.0.1:0", "--log-level", "error")
	if err != nil {
		return nil, err
	}
	go drain(p.out) // its banner
	if err := listening(ctx, address); err != nil {
		p.stop()
		return nil, fmt.Errorf("the gateway: %w", err)
	}
	return loaded(ctx, p, identities(i.identities, address))
}

// freeAddress gives an address on loopback that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// listening waits until an address takes connections.
func listening(ctx context.Context, address string) error {
	for range 600 {
		c, err := net.Dial("tcp", address)
		if err == nil {
			return c.Close()
		}
		wait(ctx, 50*time.Millisecond)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("nobody listened on %s within 30 s", address)
}
