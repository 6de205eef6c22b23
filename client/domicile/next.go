package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// requestFlag makes a change repeatable.
type requestFlag struct {
	RequestID string `placeholder:"UUID" help:"Makes a repeated command give the first result for 24 hours."`
}

// countText is a number of things.
func countText(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// next tells people what is to be done now, with the commands that do it, where
// it does not mix with data.
func (a *app) next(what string, commands ...string) error {
	if a.flags.Output == "json" {
		return nil
	}
	_, err := fmt.Fprintf(a.stderr, "next: %s\n", strings.Join(append([]string{what}, commands...), "\n      "))
	return err
}

// command is a command of this program for the same gateway, as the same caller.
func (a *app) command(words ...string) string { return a.commandAs(a.flags.Identity, words...) }

// commandAs is one as another caller.
func (a *app) commandAs(identity string, words ...string) string {
	flags := *a.flags
	flags.Identity = identity
	as := app{program: a.program, flags: &flags}
	parts := []string{as.again("", "")}
	for _, w := range words {
		parts = append(parts, quoted(w))
	}
	return strings.Join(parts, " ")
}

// beside names an embedded gateway's identity of a role where the caller is, and
// otherwise CALLER: of other identities nothing is known.
func (a *app) beside(role string) string {
	_, place, ok := strings.Cut(a.flags.Identity, "-")
	name := role + "-" + place
	if ok && slices.Contains(identities(filepath.Join(a.flags.Data, "identity")), name) {
		return name
	}
	return "CALLER"
}

// approvals are the commands by which up to n others approve.
func (a *app) approvals(n int, words ...string) []string {
	var out []string
	for _, role := range []string{"officer", "counsel"} {
		if who := a.beside(role); who != a.flags.Identity && len(out) < n {
			out = append(out, a.commandAs(who, words...))
		}
	}
	return slices.Compact(out)
}
