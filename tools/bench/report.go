package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
)

// result is all that a run found, as it is written to the report file.
type result struct {
	CPUs  int
	Go    string
	Lines []line
}

// line is one work under one load, compared with something measured in the same run.
type line struct {
	Work    string
	Callers int
	Against string // what it is compared with
	Goal    string // what the ratio should be; "" = not stated
	Metrics []metric
}

// metric is one quantity of a line: a value per round, the gateway's and the
// other's, and the spread of their ratios round by round.
type metric struct {
	Name  string
	Unit  string
	Own   []float64
	Other []float64
	Ratio spread
}

// spread is the least, the middle and the greatest of some numbers.
type spread struct{ Min, Median, Max float64 }

func spreadOf(v []float64) spread {
	if len(v) == 0 {
		return spread{}
	}
	s := slices.Sorted(slices.Values(v))
	return spread{Min: s[0], Median: middle(s), Max: s[len(s)-1]}
}

// middle gives the median of sorted numbers.
func middle(s []float64) float64 {
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// quantity says how a metric is read off a sample.
type quantity struct {
	name, unit string
	of         func(sample) float64
}

var (
	cpuPerCall = quantity{"CPU", "µs/call", func(s sample) float64 { return s.CPU.Seconds() * 1e6 / float64(s.Calls) }}
	rate       = quantity{"rate", "calls/s", func(s sample) float64 { return float64(s.Calls) / s.Took.Seconds() }}
	cpuPerByte = quantity{"CPU", "ns/byte", func(s sample) float64 { return s.CPU.Seconds() * 1e9 / float64(s.Bytes) }}
	throughput = quantity{"rate", "MB/s", func(s sample) float64 { return float64(s.Bytes) / 1e6 / s.Took.Seconds() }}
	roundTrips = quantity{"trips", "per call", func(s sample) float64 { return float64(s.Trips) / float64(s.Calls) }}
	median     = quantity{"median", "µs", func(s sample) float64 { return s.Median.Seconds() * 1e6 }}
	nine       = quantity{"9 of 10", "µs", func(s sample) float64 { return s.Nine.Seconds() * 1e6 }}
	memory     = quantity{"memory", "MiB", func(s sample) float64 { return float64(s.Resident) / (1 << 20) }}
)

// compared makes a metric of the samples of two servers, round by round.
func (q quantity) compared(own, other []sample) metric {
	m := metric{Name: q.name, Unit: q.unit}
	var ratios []float64
	for i := range own {
		a, b := q.of(own[i]), q.of(other[i])
		m.Own, m.Other = append(m.Own, a), append(m.Other, b)
		if b > 0 {
			ratios = append(ratios, a/b)
		}
	}
	m.Ratio = spreadOf(ratios)
	return m
}

// added makes a metric of what two ways each add to a third, round by round.
func (q quantity) added(direct, own, other []sample) metric {
	m := metric{Name: q.name, Unit: q.unit}
	var ratios []float64
	for i := range direct {
		a, b := q.of(own[i])-q.of(direct[i]), q.of(other[i])-q.of(direct[i])
		m.Own, m.Other = append(m.Own, a), append(m.Other, b)
		if b > 0 {
			ratios = append(ratios, a/b)
		}
	}
	m.Ratio = spreadOf(ratios)
	return m
}

func (l line) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d callers, against %s", l.Work, l.Callers, l.Against)
	if l.Goal != "" {
		fmt.Fprintf(w, " (goal %s)", l.Goal)
	}
	fmt.Fprintln(w)
	for _, m := range l.Metrics {
		fmt.Fprintf(w, "  %-7s %9.4g against %-9.4g %-8s ratio %.2f  (min %.2f, max %.2f)\n",
			m.Name, spreadOf(m.Own).Median, spreadOf(m.Other).Median, m.Unit, m.Ratio.Median, m.Ratio.Min, m.Ratio.Max)
	}
}

// save writes the result to a file.
func (r result) save(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o600)
}

func newResult() result {
	return result{CPUs: runtime.NumCPU(), Go: strings.TrimPrefix(runtime.Version(), "go")}
}
