package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sort"
	"strings"
	"time"

	"github.com/domicile-project/domicile/server/config"
	"github.com/domicile-project/domicile/server/embedded"
	"github.com/domicile-project/domicile/server/rpc"
)

// setup is what the flags, the environment and the configuration file come to.
type setup struct {
	cfg  *config.Config
	home *embedded.Home // nil when a file configures the gateway
	file string         // that file's name, or ""
	seen os.FileInfo    // that file as it was before it was read
	f    *flags
}

// configure reads the configuration without touching any store. The embedded
// default's folder is made and locked only when it is to be served from.
func configure(f *flags, serving bool) (*setup, error) {
	s := &setup{file: f.Config, f: f}
	var err error
	switch {
	case f.Config != "":
		if s.seen, err = os.Stat(f.Config); err != nil {
			return nil, &usageError{err}
		}
		s.cfg, err = config.Load(f.Config, os.Environ())
	case serving:
		if s.home, err = embedded.Open(f.Data, time.Now()); err != nil {
			return nil, err
		}
		s.cfg = s.home.Config()
		err = s.cfg.ApplyEnvironment(os.Environ())
	default:
		if s.cfg, err = embedded.Config(f.Data); err == nil {
			err = s.cfg.ApplyEnvironment(os.Environ())
		}
	}
	if err == nil {
		override(s.cfg, f)
		err = s.cfg.Validate()
	}
	if err != nil {
		return nil, errors.Join(&usageError{err}, s.close())
	}
	return s, nil
}

// override puts what the command line says in place of what the file says.
func override(c *config.Config, f *flags) {
	if f.Listen != "" {
		c.Gateway.Listen = f.Listen
	}
	if f.AdminListen != "" {
		c.Gateway.AdminListen = f.AdminListen
	}
}

func (s *setup) close() error {
	if s.home == nil {
		return nil
	}
	return s.home.Close()
}

// check validates all that can be without opening a store or listening.
func check(f *flags, stdout io.Writer) error {
	s, err := configure(f, false)
	if err != nil {
		return err
	}
	var problems []error
	for _, name := range regionNames(s.cfg) {
		_, err := s.cfg.LoadPolicies(name)
		problems = append(problems, err)
	}
	if f.Config != "" {
		_, err := rpc.NewCredentials(s.cfg.TLS, nil)
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		return &usageError{err}
	}
	_, err = fmt.Fprintln(stdout, "the configuration is valid")
	return err
}

// printConfig prints the effective configuration.
func printConfig(f *flags, stdout io.Writer) error {
	s, err := configure(f, false)
	if err != nil {
		return err
	}
	text, err := s.cfg.Print()
	if err != nil {
		return err
	}
	_, err = stdout.Write(text)
	return err
}

func regionNames(c *config.Config) []string {
	names := make([]string, 0, len(c.Regions))
	for name := range c.Regions {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// elsewhere says where a region is served, unless it is here.
func elsewhere(r config.Region) string {
	if r.Peer == nil {
		return ""
	}
	return " served by its peer at " + strings.Join(r.Peer.Addresses(), ", ")
}

// tuneMemory trades memory for less garbage collection, up to the configured
// limit. What the environment says stays.
func tuneMemory(limit config.Bytes) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(800)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(limit))
	}
}

// banner says what runs and what to try next.
func banner(w io.Writer, c *config.Config, home *embedded.Home, grpc, admin string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nDomicile %s\n\n", version)
	fmt.Fprintf(&b, "  gRPC     %s   (TLS with certificates on both sides)\n", grpc)
	fmt.Fprintf(&b, "  admin    http://%s\n", admin)
	for _, name := range regionNames(c) {
		r := c.Regions[name]
		fmt.Fprintf(&b, "  region   %s   (%s, %s)%s\n", name, r.Jurisdiction, r.Controller, elsewhere(r))
	}
	if home != nil {
		fmt.Fprintf(&b, "  data     %s\n", home.Dir())
	}
	if c.Mixed() {
		fmt.Fprintf(&b, "\n  Plaintext of %s can exist in this one process.\n", strings.Join(c.Jurisdictions(), " and "))
		b.WriteString("  That is for one machine; in production each region has gateways of its own.\n")
	}
	if home != nil {
		fmt.Fprintf(&b, "\n  Try next:  domicile tour --data %s\n", home.Dir())
	}
	b.WriteString("\n")
	_, err := io.WriteString(w, b.String())
	return err
}
