package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// treeWork is what tools/bench/tree says of one kind of call: see there.
type treeWork struct {
	Name          string
	With, Without []treeRound
}

type treeRound struct {
	Entries     uint64
	Took, CPU   time.Duration
	Age, Oldest time.Duration
	Waited      uint64
	Drained     time.Duration
}

// tree measures what keeping the audit log's tree costs, with the usage that is counted from it, and how far it is behind: a program of
// its own, since the gateway as it is shipped always keeps it. The core alone is compared: of a call that comes over gRPC the same cost is
// a smaller share.
func (b *bench) tree(ctx context.Context) error {
	const callers = 64
	if !b.wanted(line{Work: "GetRecord"}) && !b.wanted(line{Work: "PutRecord"}) {
		return nil
	}
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "tree"), //nolint:gosec // the program is the benchmark's own
		"-dir", filepath.Join(b.dir, "tree"), "-callers", fmt.Sprint(callers), "-rounds", fmt.Sprint(b.rounds), "-seconds", (4 * b.seconds).String())
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return err
	}
	var found struct{ Works []treeWork }
	if err := json.Unmarshal(text, &found); err != nil {
		return fmt.Errorf("its result: %w", err)
	}
	for _, w := range found.Works {
		b.add(w.cost(callers))
		b.add(w.freshness(callers))
	}
	return nil
}

// cost compares a work with the tree kept and without.
func (w treeWork) cost(callers int) line {
	entries := func(s sample) float64 { return float64(s.Calls) / s.Took.Seconds() }
	perEntry := func(s sample) float64 { return s.CPU.Seconds() * 1e6 / float64(max(s.Calls, 1)) }
	l := line{Work: w.Name + ", the log's tree and usage kept", Callers: callers, Against: "not kept", Goal: "rate ≥ 0.95"}
	for _, q := range []quantity{{"rate", "entr./s", entries}, {"CPU", "µs/entry", perEntry}} {
		l.Metrics = append(l.Metrics, q.compared(samplesOf(w.With), samplesOf(w.Without)))
	}
	return l
}

// samplesOf counts entries as calls: each call that is measured here writes one.
func samplesOf(rounds []treeRound) (all []sample) {
	for _, r := range rounds {
		all = append(all, sample{report: report{Calls: r.Entries, Took: r.Took}, CPU: r.CPU})
	}
	return all
}

// freshness holds how far the tree is behind against what it may be.
func (w treeWork) freshness(callers int) line {
	const most = 2.0 // seconds
	l := line{Work: w.Name + ", the log's newest checkpoint", Callers: callers, Against: "what is promised", Goal: "≤ 1"}
	age, drained := metric{Name: "age p99", Unit: "s"}, metric{Name: "drained", Unit: "s"}
	for _, r := range w.With {
		age.Own, age.Other = append(age.Own, r.Age.Seconds()), append(age.Other, most)
		drained.Own, drained.Other = append(drained.Own, r.Drained.Seconds()), append(drained.Other, most)
	}
	for _, m := range []metric{age, drained} {
		var ratios []float64
		for _, v := range m.Own {
			ratios = append(ratios, v/most)
		}
		m.Ratio = spreadOf(ratios)
		l.Metrics = append(l.Metrics, m)
	}
	return l
}
