package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The files are what the tables give.
func TestFilesAreCurrent(t *testing.T) {
	for file, d := range dashboards {
		want, err := d.json()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what its table gives (%v): go generate ./server/deploy/grafana", file, err)
		}
	}
}

// Every panel says what is good, what is bad and what to do, has a unit, and asks something that Grafana can fill in.
func TestPanelsAreWhole(t *testing.T) {
	uids := map[string]bool{}
	for file, d := range dashboards {
		if uids[d.uid] || d.uid == "" {
			t.Errorf("%s: the identifier %q is no other's", file, d.uid)
		}
		uids[d.uid] = true
		titles := map[string]bool{}
		for _, r := range d.rows {
			for _, p := range r.panels {
				for _, fault := range p.faults() {
					t.Errorf("%s: %q: %s", file, p.title, fault)
				}
				if titles[p.title] {
					t.Errorf("%s: two panels are called %q", file, p.title)
				}
				titles[p.title] = true
			}
		}
	}
}

var legend = regexp.MustCompile(`\{\{(\w+)\}\}`)

func (p *panel) faults() (out []string) {
	for what, text := range map[string]string{"good": p.good, "bad": p.bad, "do": p.do} {
		if len(text) < 2 || !strings.HasSuffix(text, ".") {
			out = append(out, "no sentence says what is "+what)
		}
	}
	if p.title == "" || p.unit == "" || p.kind == "" || len(p.queries) == 0 {
		out = append(out, "title, unit, kind or query is missing")
	}
	for _, q := range p.queries {
		if q.expr == "" || q.legend == "" {
			out = append(out, "a query or its legend is missing")
		}
		if sum := strings.Contains(q.expr, " by ("); sum {
			for _, m := range legend.FindAllStringSubmatch(q.legend, -1) {
				if !regexp.MustCompile(`by \([^)]*\b` + m[1] + `\b`).MatchString(q.expr) {
					out = append(out, "the legend names "+m[1]+", by which nothing is summed")
				}
			}
		}
	}
	if w, _ := p.size(); w > 24 {
		out = append(out, "it is wider than a screen")
	}
	return out
}

// No panel covers another.
func TestPanelsDoNotOverlap(t *testing.T) {
	for file, d := range dashboards {
		taken := map[[2]int]bool{}
		for _, p := range d.panels() {
			at := p["gridPos"].(object)
			for x := at["x"].(int); x < at["x"].(int)+at["w"].(int); x++ {
				for y := at["y"].(int); y < at["y"].(int)+at["h"].(int); y++ {
					if taken[[2]int{x, y}] || x >= 24 {
						t.Fatalf("%s: %q has no place of its own", file, p["title"])
					}
					taken[[2]int{x, y}] = true
				}
			}
		}
	}
}
