package main

import (
	"fmt"
	"strings"
)

// What a query selects. The names of the product's own metrics need no job; those of libraries are also others'.
const (
	own      = `gateway=~"$gateway"`
	inRegion = own + `,region=~"$region"`
	process  = `job="domicile",` + own
)

// over is the time of a rate: enough samples for any zoom.
const over = "$__rate_interval"

// rate is how often a counter moves in a second, summed by labels.
func rate(metric, selector, by string) string {
	return fmt.Sprintf("sum%s (rate(%s{%s}[%s]))", of(by), metric, selector, over)
}

// total is by how much a counter moved in the time that is shown.
func total(metric, selector, by string) string {
	return fmt.Sprintf("sum%s (increase(%s{%s}[$__range]))", of(by), metric, selector)
}

// quantile is that of a histogram. Prometheus keeps a histogram as native buckets where --enable-feature=native-histograms
// is set, which are finer, and then has no series of the classic ones; else as classic ones alone. So
// both are asked for, and one of them answers.
func quantile(q float64, metric, selector, by string) string {
	classic := strings.TrimPrefix(by+",le", ",")
	return fmt.Sprintf("histogram_quantile(%[1]g, sum%[4]s (rate(%[2]s{%[3]s}[%[6]s])))\nor\nhistogram_quantile(%[1]g, sum by (%[5]s) (rate(%[2]s_bucket{%[3]s}[%[6]s])))",
		q, metric, selector, of(by), classic, over)
}

// observed is how often a histogram was given a value in a second, as native or classic buckets.
func observed(metric, selector, by string) string {
	return fmt.Sprintf("histogram_count(sum%[3]s (rate(%[1]s{%[2]s}[%[4]s])))\nor\n%[5]s",
		metric, selector, of(by), over, rate(metric+"_count", selector, by))
}

// abroad leaves of a sum by from, to and maybe more labels what leads to another jurisdiction. Labels cannot be compared
// with each other; so the pairs that lead home are made, and taken away.
func abroad(sum, home string) string {
	return fmt.Sprintf("%s\nunless on (from, to)\nlabel_replace(%s, \"to\", \"$1\", \"from\", \"(.*)\")", sum, home)
}

func of(by string) string {
	if by == "" {
		return ""
	}
	return " by (" + by + ")"
}
