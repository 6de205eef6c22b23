package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/domicile-project/domicile/client"
)

// page lays the tour out: at most 100 columns, decisions at the right, colour
// on a terminal unless NO_COLOR is set (no-color.org).
type page struct {
	w        io.Writer
	colour   bool
	chapters int
	step     string // what is being told
	err      error  // the first write that failed
}

const (
	whoWidth  = 9
	whatWidth = 49
)

func newPage(w io.Writer) *page {
	return &page{w: w, colour: isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// The colours, as SGR parameters.
const (
	bold  = "1"
	faint = "2"
	red   = "31"
	green = "32"
)

func (p *page) paint(colour, text string) string {
	if !p.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (p *page) line(format string, args ...any) {
	text := strings.TrimRight(fmt.Sprintf(format, args...), " ")
	if _, err := fmt.Fprintln(p.w, text); err != nil && p.err == nil {
		p.err = err
	}
}

func (p *page) title(text, where string) {
	p.line("%s  %s", p.paint(bold, text), p.paint(faint, where))
}

func (p *page) chapter(text string) {
	p.chapters++
	p.line("")
	p.line("%s", p.paint(bold, fmt.Sprintf("%d  %s", p.chapters, text)))
}

func (p *page) allowed(who, what, decision string) {
	p.told(p.paint(green, "✓"), who, what, decision)
}

func (p *page) denied(who, what string, d *client.Denied) {
	p.told(p.paint(red, "✗"), who, what, d.DecisionID)
	p.detail(fmt.Sprintf("%s %s, clause %s, %s", p.paint(red, "denied:"), d.Reason, d.Clause, wayText(d.From, d.To)))
	if c := d.Consent; c != nil && d.Reason == "CROSS_BORDER_CONSENT_REQUIRED" { // else it was there and has been told of
		p.detail(strings.Join(strings.Fields(fmt.Sprintf("needed: a %s consent for %s, %s", c.Kind, c.DataClass, c.Purpose)), " "))
	}
}

func (p *page) told(mark, who, what, decision string) {
	p.line("   %s %-*s%-*s %s", mark, whoWidth, who, whatWidth, what, p.paint(faint, decision))
}

// detail is text under a step, a line for each of its lines.
func (p *page) detail(text string) {
	if text == "" {
		return
	}
	for line := range strings.SplitSeq(text, "\n") {
		p.line("     %-*s%s", whoWidth, "", line)
	}
}

// wrapped joins the parts of a command, on further lines as far as they do not fit on the page: who calls the program by a long
// path has it in every hint.
func wrapped(parts ...string) string {
	const room = 72
	out, line := parts[0], len(parts[0])
	for _, part := range parts[1:] {
		if line += 1 + len(part); line > room {
			out, line = out+" \\\n    "+part, 4+len(part)
		} else {
			out += " " + part
		}
	}
	return out
}

func (p *page) hint(what, command string) {
	p.line("   %-23s%s", what, strings.ReplaceAll(command, "\n", "\n"+strings.Repeat(" ", 26)))
}

// failed marks the step that did not come out as told.
func (p *page) failed() {
	p.line("   %s %s: not as told", p.paint(red, "!"), p.step)
}
