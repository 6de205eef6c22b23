// Tree measures what keeping the audit log's tree costs: two gateways' cores in one process, over embedded engines of their own, one
// with a signing key and one without, loaded in turns. Without a key there is no tree, and no usage is counted from its entries. Nothing is between the callers and the core, no TLS and no gRPC, so that what the tree
// takes is not hidden by what they take. It prints its result as JSON on its standard output.
//
//	tree -dir DIR -rounds 5 -seconds 6s
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tree:", err)
		os.Exit(1)
	}
}

// result is what one run found: tools/bench reads it.
type result struct {
	Works []work
}

// work is one kind of call: a value per round of each.
type work struct {
	Name          string
	With, Without []round
}

// round is what one round did.
type round struct {
	Entries uint64
	Took    time.Duration
	CPU     time.Duration // of the process, integration and signing included

	// With a tree alone: the checkpoint's age that 99 of 100 looks found no greater, as residency_audit_checkpoint_age_seconds has it; the greatest;
	// how many entries waited at the most; and how long after the load none did.
	Age, Oldest time.Duration
	Waited      uint64
	Drained     time.Duration
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("tree", flag.ContinueOnError)
	dir := flags.String("dir", "", "an empty folder on a real disk")
	callers := flags.Int("callers", 64, "calls at once")
	rounds := flags.Int("rounds", 5, "rounds of each work on each gateway")
	seconds := flags.Duration("seconds", 6*time.Second, "how long each round is measured")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" || *callers < 1 || *rounds < 1 || *seconds <= 0 {
		return errors.New("want a folder, and at least one caller, one round and some time")
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	with, err := openSubject(ctx, *dir, "with", true)
	if err != nil {
		return err
	}
	without, err := openSubject(ctx, *dir, "without", false)
	if err != nil {
		return err
	}
	var out result
	for _, name := range []string{"GetRecord", "PutRecord"} {
		w := work{Name: name}
		for n := range *rounds {
			order := []*subject{with, without}
			if n%2 == 1 { // what one leaves to be compacted is not always the same one's to bear
				slices.Reverse(order)
			}
			for _, s := range order {
				r, err := s.measure(ctx, name, *callers, *seconds)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if s == with {
					w.With = append(w.With, r)
				} else {
					w.Without = append(w.Without, r)
				}
			}
		}
		out.Works = append(out.Works, w)
	}
	stop()
	if err := errors.Join(with.close(), without.close()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// cpu gives the CPU time that the process has used so far.
func cpu() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// settle waits until the process does next to nothing, at the most some seconds.
func settle() error {
	const window, quiet, most = 250 * time.Millisecond, 15 * time.Millisecond, 40
	for range most {
		before, err := cpu()
		if err != nil {
			return err
		}
		time.Sleep(window)
		after, err := cpu()
		if err != nil || after-before < quiet {
			return err
		}
	}
	return nil
}
