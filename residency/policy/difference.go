package policy

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/domicile-project/domicile/residency"
)

var directionWords = [...]string{"UNSPECIFIED", "LOOSER", "STRICTER", "OTHERWISE"}

// String gives "LOOSER", "STRICTER" or "OTHERWISE".
func (d Direction) String() string { return pick(directionWords[:], uint8(d)) }

// String puts the difference into text for a terminal: a line of counts, each change
// with what was and what is, what else the files say differently, and which consents are void.
func (d Difference) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s → %s, in force from %s\n", d.From, d.To, d.Effective.Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&b, "%d decisions compared, %d differ\n", d.Compared, d.Changed)
	for _, c := range d.Changes {
		fmt.Fprintf(&b, "\n%s: %s (%s)\n", c.Direction, c.Accesses, count(c.Decisions, "decision"))
		fmt.Fprintf(&b, "  before  %s\n  after   %s\n", c.Before, c.After)
	}
	if d.Unlisted > 0 {
		fmt.Fprintf(&b, "\n%s more differ in other ways.\n", count(d.Unlisted, "decision"))
	}
	if len(d.Restated) > 0 {
		b.WriteString("\nThe files also differ in\n")
	}
	for _, r := range d.Restated {
		fmt.Fprintf(&b, "  %s\n    before  %s\n    after   %s\n", r.What, orNothing(r.Before), orNothing(r.After))
	}
	d.voidedText(&b)
	return b.String()
}

func orNothing(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}

// voidedText lists the voided consents, those that differ in their purpose alone on one line.
func (d Difference) voidedText(w io.Writer) {
	if len(d.Voided) == 0 {
		fmt.Fprintln(w, "\nNo recorded consent is voided.")
		return
	}
	fmt.Fprintln(w, "\nVoided are the recorded consents that were of use for nothing but this:")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  KIND\tDATA\tTO\tCLAUSE\tPURPOSES")
	var lines []VoidedConsents // each with no purpose
	purposes := make(map[VoidedConsents][]string)
	for _, v := range d.Voided {
		line := v
		line.Purpose = residency.PurposeUnspecified
		if purposes[line] == nil {
			lines = append(lines, line)
		}
		purposes[line] = append(purposes[line], v.Purpose.String())
	}
	for _, v := range lines {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", v.Kind, v.DataClass, v.To, v.Clause, purposesWord(purposes[v]))
	}
	_ = t.Flush() // w is a buffer
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
