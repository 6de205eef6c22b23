package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// calls measures the unary calls against the bare server without TLS.
func (b *bench) calls(ctx context.Context) error {
	s := shape{Tenants: 10, Subjects: 1000, Records: 2} // so many that consents spread thinly over them
	if b.quick {
		s = shape{Tenants: 2, Subjects: 5, Records: 10}
	}
	g, err := b.gateway(ctx, "calls", s)
	if err != nil {
		return err
	}
	defer g.stop()
	other, err := b.other(ctx, s)
	if err != nil {
		return err
	}
	defer other.stop()
	for _, work := range []string{"GetRecord", "PutRecord", "CheckTransfer", "GrantConsent"} {
		for _, callers := range b.callers {
			other.goal = goal(work, callers)
			if err := b.compare(ctx, line{Work: work, Callers: callers}, g, []rival{other}, cpuPerCall, rate); err != nil {
				return err
			}
		}
	}
	return nil
}

// other starts what the unary calls are compared with.
func (b *bench) other(ctx context.Context, s shape) (rival, error) {
	if b.earlier != "" {
		c, err := b.gatewayOf(ctx, b.earlier, "earlier", s)
		return rival{contender: c, against: "the gateway of " + b.earlier}, err
	}
	peer, err := startPeer(ctx, b.bin)
	return rival{contender: contender{server: peer, shape: s}, against: "bare gRPC without TLS"}, err
}

// goal says what the CPU ratio of a call should be; "" = not stated.
func goal(work string, callers int) string {
	switch {
	case work == "CheckTransfer" && callers == 64:
		return "≤ 1.2 beside the durable entry"
	case work != "GetRecord" && work != "PutRecord":
		return ""
	case callers == 16:
		return "≤ 1.8"
	case callers == 64:
		return "≤ 1.5"
	}
	return ""
}

// drives measures the drive streams against the bare server over mutual TLS.
func (b *bench) drives(ctx context.Context) error {
	s := shape{Tenants: 1, Subjects: 1, Records: 1, Drives: 4, DriveBytes: 64 << 20}
	if b.quick {
		s.DriveBytes = 2 << 20
	}
	g, peer, err := b.secured(ctx, "drives", s)
	if err != nil {
		return err
	}
	defer g.stop()
	defer peer.stop()
	for _, work := range []string{"ReadDrive", "WriteDrive"} {
		for _, callers := range []int{1, 4} {
			peer.goal = "≤ 1.8"
			if err := b.compare(ctx, line{Work: work, Callers: callers}, g, []rival{peer}, cpuPerByte, throughput); err != nil {
				return err
			}
		}
	}
	return nil
}

// streams measures the memory that a hundred drives take while they are read.
func (b *bench) streams(ctx context.Context) error {
	s := shape{Tenants: 1, Subjects: 1, Records: 1, Drives: 100, DriveBytes: 8 << 20}
	if b.quick {
		s.Drives, s.DriveBytes = 10, 1<<20
	}
	g, peer, err := b.secured(ctx, "streams", s)
	if err != nil {
		return err
	}
	defer g.stop()
	defer peer.stop()
	return b.compare(ctx, line{Work: "ReadDrive", Callers: s.Drives}, g, []rival{peer}, memory, cpuPerByte)
}

// secured starts a gateway and a peer that speaks mutual TLS with its identities.
func (b *bench) secured(ctx context.Context, name string, s shape) (g contender, peer rival, err error) {
	if g, err = b.gateway(ctx, name, s); err != nil {
		return g, peer, err
	}
	p, err := startSecurePeer(ctx, b.bin, filepath.Join(b.dir, name))
	if err != nil {
		g.stop()
	}
	return g, rival{contender: contender{server: p, shape: s}, against: "bare gRPC over mutual TLS"}, err
}

// scale measures calls, and the memory taken, with many records against few.
func (b *bench) scale(ctx context.Context) error {
	few := shape{Tenants: 10, Subjects: 10, Records: 10}
	many := shape{Tenants: 100, Subjects: b.large / 1000, Records: 10}
	small, err := b.gateway(ctx, "small", few)
	if err != nil {
		return err
	}
	defer small.stop()
	began := time.Now()
	large, err := b.gateway(ctx, "large", many)
	if err != nil {
		return err
	}
	defer large.stop()
	fmt.Fprintf(b.out, "wrote %d records in %s\n", many.count(), time.Since(began).Round(time.Second))
	for _, work := range []string{"GetRecord", "PutRecord"} {
		other := rival{contender: small, against: fmt.Sprintf("%d records, with %d", few.count(), many.count()), goal: "≤ 1.3"}
		if err := b.compare(ctx, line{Work: work, Callers: 16}, large, []rival{other}, cpuPerCall, rate, memory); err != nil {
			return err
		}
	}
	return nil
}
