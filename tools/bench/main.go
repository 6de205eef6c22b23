// Bench measures the gateway against a bare gRPC server. It knows how to make a
// number mean something on a small machine: every value is a ratio to a peer
// measured in the same run, in turns, and CPU time is the server's own.
//
//	bench -bin bin -out bench.json            everything, some ten minutes
//	bench -bin bin -lines calls -rounds 3     a part
//	bench -bin bin -lines calls -earlier DIR  what a change to the gateway gained
//	bench -bin bin -quick                     a few seconds; the numbers mean nothing
//
// The gateway runs as it is shipped: mutual TLS, every check, the decision, the
// encryption and the durable audit entry. Each server is a process of its own and so
// is each load generator.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	bin     string        // where the programs are
	dir     string        // where the gateways keep their data during the run
	parts   []string      // which parts to run
	only    string        // the works to measure, separated by commas; "" = all
	callers string        // how many callers at once the unary calls are measured with, likewise
	earlier string        // where an earlier domiciled is, measured in the peer's place; "" = none
	rounds  int           // per line
	seconds time.Duration // measured per round
	large   int           // records of the large gateway
	quick   bool
	out     io.Writer
	result  result
}

// part is some lines that are measured on the same servers.
type part struct {
	name string
	run  func(*bench, context.Context) error
}

// parts are the parts of a run in their order.
func parts() []part {
	return []part{
		{"calls", (*bench).calls},
		{"drives", (*bench).drives},
		{"streams", (*bench).streams},
		{"scale", (*bench).scale},
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) > 0 && args[0] == "load" {
		return runLoad(ctx, args[1:], stdin, stdout)
	}
	b := &bench{out: stdout, result: newResult()}
	var lines, file string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&b.bin, "bin", "bin", "where domiciled and peer are")
	flags.StringVar(&file, "out", "", "the file to write the result to")
	flags.StringVar(&lines, "lines", "calls,drives,streams,scale", "which parts to run")
	flags.StringVar(&b.only, "work", "", "measure these works only, for example GetRecord,PutRecord")
	flags.StringVar(&b.callers, "callers", "1,16,64", "how many callers at once the unary calls are measured with")
	flags.StringVar(&b.earlier, "earlier", "", "measure the unary calls against the domiciled of this folder, not against the peer")
	flags.IntVar(&b.rounds, "rounds", 5, "rounds per line")
	flags.DurationVar(&b.seconds, "seconds", 2*time.Second, "how long each round is measured")
	flags.IntVar(&b.large, "large", 1_000_000, "records of the large gateway, in whole thousands")
	flags.BoolVar(&b.quick, "quick", false, "one short round of everything, to see that it works")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if b.quick {
		b.rounds, b.seconds, b.large = 1, 100*time.Millisecond, 2000
	}
	b.parts = strings.Split(lines, ",")
	return b.runParts(ctx, file)
}

func (b *bench) runParts(ctx context.Context, file string) (err error) {
	if b.rounds < 1 || b.seconds <= 0 || b.large < 1000 {
		return errors.New("want at least one round, some seconds and a thousand records")
	}
	for _, name := range b.parts {
		if !slices.ContainsFunc(parts(), func(p part) bool { return p.name == name }) {
			return fmt.Errorf("unknown part %q: want calls, drives, streams or scale", name)
		}
	}
	// Beside the programs, not in a temporary folder: that may be in memory, where
	// durable means nothing.
	if b.dir, err = os.MkdirTemp(b.bin, "bench-data-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	for _, p := range parts() {
		if slices.Contains(b.parts, p.name) {
			if err := p.run(b, ctx); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	if file == "" {
		return nil
	}
	return b.result.save(file)
}

// contender is a server and the objects that its calls are about.
type contender struct {
	*server
	shape shape
}

// gateway starts a gateway with an empty folder and makes the objects of a shape.
func (b *bench) gateway(ctx context.Context, name string, s shape) (contender, error) {
	return b.gatewayOf(ctx, b.bin, name, s)
}

// gatewayOf is gateway with the domiciled of a folder.
func (b *bench) gatewayOf(ctx context.Context, bin, name string, s shape) (contender, error) {
	g, err := startGateway(ctx, bin, filepath.Join(b.dir, name))
	if err != nil {
		return contender{}, err
	}
	for _, w := range []string{"make tenants", "make records", "make consents", "make drives"} {
		if _, err := g.measure(ctx, command{Work: w, Callers: 64, Shape: s}); err != nil {
			g.stop()
			return contender{}, err
		}
	}
	return contender{g, s}, g.settle(ctx)
}

// compare measures a line's work on two servers in turns and prints what it found.
func (b *bench) compare(ctx context.Context, l line, own, other contender, quantities ...quantity) error {
	if b.only != "" && !slices.Contains(strings.Split(b.only, ","), l.Work) {
		return nil
	}
	var owns, others []sample
	for range b.rounds {
		o, err := b.round(ctx, l, own)
		if err != nil {
			return err
		}
		p, err := b.round(ctx, l, other)
		if err != nil {
			return err
		}
		owns, others = append(owns, o), append(others, p)
	}
	for _, q := range quantities {
		l.Metrics = append(l.Metrics, q.compared(owns, others))
	}
	l.print(b.out)
	b.result.Lines = append(b.result.Lines, l)
	return nil
}

func (b *bench) round(ctx context.Context, l line, c contender) (sample, error) {
	s, err := c.measure(ctx, command{
		Work: l.Work, Callers: l.Callers, Warm: b.seconds / 4, Measure: b.seconds, Shape: c.shape,
	})
	if err == nil && s.Calls == 0 && s.Bytes == 0 {
		err = fmt.Errorf("%s: nothing was done in %s", l.Work, b.seconds)
	}
	return s, err
}

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
	other, against, err := b.other(ctx, s)
	if err != nil {
		return err
	}
	defer other.stop()
	for _, work := range []string{"GetRecord", "PutRecord", "CheckTransfer", "GrantConsent"} {
		for _, text := range strings.Split(b.callers, ",") {
			callers, err := strconv.Atoi(text)
			if err != nil || callers < 1 {
				return fmt.Errorf("%q callers: want numbers from 1 on, separated by commas", text)
			}
			l := line{Work: work, Callers: callers, Against: against, Goal: goal(work, callers)}
			if err := b.compare(ctx, l, g, other, cpuPerCall, rate); err != nil {
				return err
			}
		}
	}
	return nil
}

// other starts what the unary calls are compared with.
func (b *bench) other(ctx context.Context, s shape) (other contender, against string, err error) {
	if b.earlier != "" {
		other, err = b.gatewayOf(ctx, b.earlier, "earlier", s)
		return other, "the gateway of " + b.earlier, err
	}
	peer, err := startPeer(ctx, b.bin)
	return contender{peer, s}, "bare gRPC without TLS", err
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
			l := line{Work: work, Callers: callers, Against: "bare gRPC over mutual TLS", Goal: "≤ 1.8"}
			if err := b.compare(ctx, l, g, peer, cpuPerByte, throughput); err != nil {
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
	l := line{Work: "ReadDrive", Callers: s.Drives, Against: "bare gRPC over mutual TLS"}
	return b.compare(ctx, l, g, peer, memory, cpuPerByte)
}

// secured starts a gateway and a peer that speaks mutual TLS with its identities.
func (b *bench) secured(ctx context.Context, name string, s shape) (g, peer contender, err error) {
	if g, err = b.gateway(ctx, name, s); err != nil {
		return g, peer, err
	}
	p, err := startSecurePeer(ctx, b.bin, filepath.Join(b.dir, name))
	if err != nil {
		g.stop()
	}
	return g, contender{p, s}, err
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
		against := fmt.Sprintf("%d records, with %d", few.count(), many.count())
		l := line{Work: work, Callers: 16, Against: against, Goal: "≤ 1.3"}
		if err := b.compare(ctx, l, large, small, cpuPerCall, rate, memory); err != nil {
			return err
		}
	}
	return nil
}
