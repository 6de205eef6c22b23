// Bench measures the gateway against programs that do the same without it: a bare
// gRPC server, one over PostgreSQL, PostgreSQL's and S3's clients alone. It knows how to make a
// number mean something on a small machine: every value is a ratio to another program
// measured in the same run, in turns, and CPU time is the program's own.
//
//	bench -bin bin -out bench.json            everything, some fifteen minutes
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
	tools   string        // where the tools are that tools/setup installs
	dir     string        // where the gateways keep their data during the run
	parts   []string      // which parts to run
	only    string        // the works to measure, separated by commas; "" = all
	callers numbers       // how many callers at once the unary calls are measured with
	earlier string        // where an earlier domiciled is, measured in the peer's place; "" = none
	rounds  int           // per line
	seconds time.Duration // measured per round
	large   int           // records of the large gateway
	quick   bool
	out     io.Writer
	result  result
}

// numbers is a flag of numbers from 1 on, separated by commas.
type numbers []int

func (n *numbers) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint([]int(*n)), " ", ","), "[]")
}

// Set is flag.Value.
func (n *numbers) Set(text string) error {
	*n = nil
	for _, t := range strings.Split(text, ",") {
		i, err := strconv.Atoi(t)
		if err != nil || i < 1 {
			return fmt.Errorf("%q: want numbers from 1 on, separated by commas", t)
		}
		*n = append(*n, i)
	}
	return nil
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
		{"postgres", (*bench).postgres},
		{"s3", (*bench).s3},
		{"hop", (*bench).hop},
		{"tree", (*bench).tree},
	}
}

func partNames() (names []string) {
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) > 0 && args[0] == "load" {
		return runLoad(ctx, args[1:], stdin, stdout)
	}
	b := &bench{out: stdout, result: newResult()}
	var lines, file string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&b.bin, "bin", "bin", "where domiciled, peer and tree are")
	flags.StringVar(&b.tools, "tools", filepath.Join(".tools", "bin"), "where versitygw is")
	flags.StringVar(&file, "out", "", "the file to write the result to")
	flags.StringVar(&lines, "lines", strings.Join(partNames(), ","), "which parts to run")
	flags.StringVar(&b.only, "work", "", "measure these works only, for example GetRecord,PutRecord")
	b.callers = numbers{1, 16, 64}
	flags.Var(&b.callers, "callers", "how many callers at once the unary calls are measured with")
	flags.StringVar(&b.earlier, "earlier", "", "measure the unary calls against the domiciled of this folder, not against the peer")
	flags.IntVar(&b.rounds, "rounds", 5, "rounds per line")
	flags.DurationVar(&b.seconds, "seconds", 1500*time.Millisecond, "how long each round is measured")
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
			return fmt.Errorf("unknown part %q: want some of %s", name, strings.Join(partNames(), ", "))
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
	shape  shape
	prefix string // of its works' names: "bare " where no gRPC is spoken
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
	c := contender{server: g, shape: s}
	if err := c.fill(ctx); err != nil {
		g.stop()
		return contender{}, err
	}
	return c, nil
}

// fill makes the objects of a gateway's shape.
func (c contender) fill(ctx context.Context) error {
	for _, w := range []string{"make tenants", "make records", "make consents", "make drives"} {
		if _, err := c.measure(ctx, command{Work: w, Callers: 32, Shape: c.shape}); err != nil {
			return err
		}
	}
	return c.settle(ctx)
}

// rival is what a line's work is compared with.
type rival struct {
	contender
	against string // what it is, as reports have it
	goal    string // what the ratio should be; "" = not stated
}

// compare measures a line's work on the gateway and its rivals in turns: a line
// for each rival.
func (b *bench) compare(ctx context.Context, l line, own contender, rivals []rival, quantities ...quantity) error {
	if !b.wanted(l) {
		return nil
	}
	contenders := []contender{own}
	for _, r := range rivals {
		contenders = append(contenders, r.contender)
	}
	samples, err := b.samples(ctx, l, contenders...)
	if err != nil {
		return err
	}
	for i, r := range rivals {
		one := line{Work: l.Work, Callers: l.Callers, Against: r.against, Goal: r.goal}
		for _, q := range quantities {
			one.Metrics = append(one.Metrics, q.compared(samples[0], samples[i+1]))
		}
		b.add(one)
	}
	return nil
}

func (b *bench) wanted(l line) bool {
	return b.only == "" || slices.Contains(strings.Split(b.only, ","), l.Work)
}

// samples measures a line's work on servers in turns: a list for each, a sample per round.
func (b *bench) samples(ctx context.Context, l line, servers ...contender) ([][]sample, error) {
	samples := make([][]sample, len(servers))
	for range b.rounds {
		for i, c := range servers {
			s, err := b.round(ctx, l, c)
			if err != nil {
				return nil, err
			}
			samples[i] = append(samples[i], s)
		}
	}
	return samples, nil
}

// add prints a line and keeps it.
func (b *bench) add(l line) {
	l.print(b.out)
	b.result.Lines = append(b.result.Lines, l)
}

// round measures once: longer, should nothing have come to its end in the time.
func (b *bench) round(ctx context.Context, l line, c contender) (sample, error) {
	for measure := b.seconds; ; measure *= 4 {
		s, err := c.measure(ctx, command{
			Work: c.prefix + l.Work, Callers: l.Callers, Warm: b.seconds / 4, Measure: measure, Shape: c.shape,
		})
		if err != nil || s.Calls > 0 || s.Bytes > 0 {
			return s, err
		}
		if measure >= time.Minute {
			return s, fmt.Errorf("%s: nothing was done in %s", l.Work, measure)
		}
	}
}
