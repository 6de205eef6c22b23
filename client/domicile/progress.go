package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// progress is a bar on a terminal; anywhere else it is silent.
type progress struct {
	w     io.Writer // nil = silent
	verb  string
	total int64 // bytes; -1 = not known
	began time.Time
	drawn time.Time
	last  int64
}

// redraw is how often the bar changes at the most.
const redraw = 100 * time.Millisecond

func newProgress(w io.Writer, verb string, total int64) *progress {
	p := &progress{verb: verb, total: total, began: time.Now()}
	if isTerminal(w) {
		p.w = w
	}
	return p
}

// at draws the bar for n bytes done.
func (p *progress) at(n int64) {
	p.last = n
	if p.w == nil || time.Since(p.drawn) < redraw {
		return
	}
	p.drawn = time.Now()
	fmt.Fprintf(p.w, "\r\x1b[K%s", p.line())
}

// text draws a line of text in the bar's place.
func (p *progress) text(line string) {
	if p.w == nil || time.Since(p.drawn) < redraw {
		return
	}
	p.drawn = time.Now()
	fmt.Fprintf(p.w, "\r\x1b[K%s", line)
}

// end takes the bar off the screen; it may be called twice.
func (p *progress) end() {
	if p.w == nil || p.drawn.IsZero() {
		return
	}
	fmt.Fprintf(p.w, "\r\x1b[K")
	p.drawn = time.Time{}
}

func (p *progress) line() string {
	const width = 30
	rate := float64(p.last) / (1 << 20) / max(time.Since(p.began).Seconds(), 0.001)
	text := fmt.Sprintf("%.1f MiB %s, %.0f MiB/s", float64(p.last)/(1<<20), p.verb, rate)
	if p.total <= 0 {
		return text
	}
	full := int(min(width, width*p.last/p.total))
	return fmt.Sprintf("[%s%s] %3d%%  %s", strings.Repeat("█", full), strings.Repeat("·", width-full), 100*p.last/p.total, text)
}
