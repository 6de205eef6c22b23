package main

import (
	"fmt"
	"slices"
	"time"
)

// span is a stretch of time, its beginning in it and its end not. Both are midnights UTC.
type span struct{ from, to time.Time }

// String gives the span as ISO 8601 has intervals.
func (s span) String() string {
	return s.from.Format(time.DateOnly) + "/" + s.to.Format(time.DateOnly)
}

// periodFlags say what time a report is about.
type periodFlags struct {
	From  string `placeholder:"DATE" help:"The first day, for example 2026-11-01 (UTC)."`
	To    string `placeholder:"DATE" help:"The day after the last one."`
	Month string `placeholder:"MONTH" help:"One month, for example 2026-11 (default the current one)."`
	Year  string `placeholder:"YEAR" help:"One year, for example 2026."`
	By    string `enum:"day,month,period" default:"period" placeholder:"day|month" help:"Split the period by day or month (default not)."`
}

// maxSpans is how many parts a period may be split into.
const maxSpans = 1000

// spans gives the parts of the period, in order.
func (f *periodFlags) spans(now time.Time) ([]span, error) {
	whole, err := f.whole(now)
	if err != nil {
		return nil, err
	}
	next := func(time.Time) time.Time { return whole.to }
	switch f.By {
	case "day":
		next = func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }
	case "month":
		next = func(t time.Time) time.Time { return time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC) }
	}
	var out []span
	for at := whole.from; at.Before(whole.to); at = out[len(out)-1].to {
		if len(out) == maxSpans {
			return nil, usagef("--by: the period has more than %d parts: choose a shorter one, or larger parts", maxSpans)
		}
		end := next(at)
		if end.After(whole.to) {
			end = whole.to
		}
		out = append(out, span{at, end})
	}
	return out, nil
}

// whole gives the period that the flags name in one of three ways.
func (f *periodFlags) whole(now time.Time) (span, error) {
	named := 0
	for _, given := range []bool{f.From != "" || f.To != "", f.Month != "", f.Year != ""} {
		if given {
			named++
		}
	}
	switch {
	case named > 1:
		return span{}, usagef("name the period in one way: --from and --to, --month or --year")
	case f.Year != "":
		return parseSpan("--year", "2006", "2026", f.Year, func(t time.Time) time.Time { return t.AddDate(1, 0, 0) })
	case f.From != "" || f.To != "":
		return f.days()
	}
	month := f.Month
	if month == "" {
		month = now.UTC().Format("2006-01")
	}
	return parseSpan("--month", "2006-01", "2026-11", month, func(t time.Time) time.Time { return t.AddDate(0, 1, 0) })
}

func parseSpan(flag, layout, example, text string, end func(time.Time) time.Time) (span, error) {
	t, err := time.Parse(layout, text)
	if err != nil {
		return span{}, usagef("%s: want it written like %s", flag, example)
	}
	return span{t, end(t)}, nil
}

func (f *periodFlags) days() (s span, err error) {
	if f.From == "" || f.To == "" {
		return s, usagef("--from and --to go together: the first day, and the day after the last")
	}
	for _, d := range []struct {
		flag, text string
		into       *time.Time
	}{{"--from", f.From, &s.from}, {"--to", f.To, &s.to}} {
		if *d.into, err = time.Parse(time.DateOnly, d.text); err != nil {
			return s, usagef("%s: want a date like 2026-11-01", d.flag)
		}
	}
	if !s.from.Before(s.to) {
		return s, usagef("--to: want a day after %s", s.from.Format(time.DateOnly))
	}
	return s, nil
}

// spanOf gives the position of the span that holds a moment; -1 when none does. Spans touch, in order.
func spanOf(spans []span, t time.Time) int {
	i, _ := slices.BinarySearchFunc(spans, t, func(s span, t time.Time) int {
		if t.Before(s.to) {
			return 1
		}
		return -1
	})
	if i == len(spans) || t.Before(spans[i].from) {
		return -1
	}
	return i
}

// text says the period for people.
func (s span) text() string {
	last := s.to.AddDate(0, 0, -1)
	if last.Equal(s.from) {
		return s.from.Format(time.DateOnly)
	}
	return fmt.Sprintf("%s to %s", s.from.Format(time.DateOnly), last.Format(time.DateOnly))
}
