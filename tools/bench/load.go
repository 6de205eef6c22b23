package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The load generator is a process of its own, so that its CPU time is never
// counted as a server's. It reads one command a line from its standard input
// and answers each with three lines: when measuring starts, when it has ended, and
// when no call of the work is under way any more.

// command asks for load.
type command struct {
	Work    string        // a key of works
	Callers int           // how many calls are under way at once
	Warm    time.Duration // how long to run before measuring starts
	Measure time.Duration // how long to measure; 0 = until the work is done
	Shape   shape         // which objects there are
}

// shape says which objects there are: tenants, each with subjects, each with
// records; and the drives of the first tenant.
type shape struct {
	Tenants, Subjects, Records int
	Drives                     int
	DriveBytes                 int64
}

// count is how many records there are in all.
func (s shape) count() int { return s.Tenants * s.Subjects * s.Records }

// report is one line of a load generator's answer.
type report struct {
	Phase phase
	Calls uint64        // finished while measuring
	Bytes uint64        // of drive data, likewise
	Took  time.Duration // how long was measured

	Median, Nine time.Duration // that the middle call took, and nine of ten at the most

	Error string // the first error of any call; "" = none
}

// phase is how far a command has come.
type phase string

const (
	started phase = "started" // measuring begins now; nothing else is set
	ended   phase = "ended"   // measuring ended now; everything is set
	idle    phase = "idle"    // no call is under way; Error is set
)

// runLoad serves commands until its input ends.
func runLoad(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	var to target
	flags.StringVar(&to.Address, "address", "", "the server's address")
	flags.StringVar(&to.Identities, "identities", "", "the folder of client identities; empty = no TLS")
	flags.StringVar(&to.Authority, "authority", "", "the authority of the server's certificate")
	flags.StringVar(&to.Database, "database", "", "a PostgreSQL database, in place of a server")
	flags.StringVar(&to.Bucket, "bucket", "", "an S3 bucket, in place of a server")
	if err := flags.Parse(args); err != nil {
		return err
	}
	defer to.close()
	answers := json.NewEncoder(out)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return fmt.Errorf("not a command: %w", err)
		}
		if err := drive(ctx, &to, c, answers); err != nil {
			return err
		}
	}
	return lines.Err()
}

// tally counts what callers did. Its first error stops them all.
type tally struct {
	calls, bytes atomic.Uint64
	latencies    latencies
	enough       atomic.Bool // no caller begins another call
	stop         context.CancelCauseFunc
}

// latencies are how long calls took.
type latencies struct {
	mu   sync.Mutex
	took []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, d)
}

// take gives what the middle call took, and nine of ten at the most, and forgets them all.
func (l *latencies) take() (median, nine time.Duration) {
	l.mu.Lock()
	took := l.took
	l.took = nil
	l.mu.Unlock()
	if len(took) == 0 {
		return 0, 0
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*9/10]
}

// drive carries out one command.
func drive(ctx context.Context, to *target, c command, answers *json.Encoder) error {
	work, ok := works[c.Work]
	if !ok {
		return fmt.Errorf("unknown work %q", c.Work)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	t := &tally{stop: stop}
	var callers sync.WaitGroup
	finished := make(chan struct{})
	for i := range c.Callers {
		callers.Go(func() { call(ctx, to, c, work, i, t) })
	}
	go func() { callers.Wait(); close(finished) }()

	send := func(r report) error { return answers.Encode(r) }
	if c.Measure > 0 {
		wait(ctx, c.Warm)
	}
	t.latencies.take() // of calls before
	calls, bytes, start := t.calls.Load(), t.bytes.Load(), time.Now()
	if err := send(report{Phase: started}); err != nil {
		return err
	}
	if c.Measure > 0 {
		wait(ctx, c.Measure)
	} else {
		<-finished
	}
	r := report{
		Phase: ended, Calls: t.calls.Load() - calls, Bytes: t.bytes.Load() - bytes, Took: time.Since(start), Error: t.failure(ctx),
	}
	r.Median, r.Nine = t.latencies.take()
	if err := send(r); err != nil {
		return err
	}
	t.enough.Store(true)
	<-finished // no call is cut off: that would be work of another kind
	return send(report{Phase: idle, Error: t.failure(ctx)})
}

// failure gives the first error of any call; "" = none.
func (t *tally) failure(ctx context.Context) string {
	if err := context.Cause(ctx); err != nil {
		return err.Error()
	}
	return ""
}

// call is one caller: it repeats the work until told to stop.
func call(ctx context.Context, to *target, c command, w work, caller int, t *tally) {
	stubs, err := to.stubs(ctx, w.identity, c.Callers, caller)
	if err != nil {
		t.stop(err)
		return
	}
	one := &session{
		stubs: stubs, shape: c.Shape, caller: caller, callers: c.Callers,
		dice: rand.New(rand.NewPCG(uint64(caller), 1)), carried: &t.bytes,
	}
	for ctx.Err() == nil && !t.enough.Load() {
		start := time.Now()
		err := w.do(ctx, one)
		if errors.Is(err, errDone) {
			return
		}
		if err != nil {
			if ctx.Err() == nil {
				t.stop(fmt.Errorf("%s: %w", c.Work, err))
			}
			return
		}
		t.latencies.add(time.Since(start))
		t.calls.Add(1)
	}
}

// wait waits for a time or for the context's end.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
