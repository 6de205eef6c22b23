package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/domicile-project/domicile/client"
)

// errAnswerIsDeny ends a command whose answer, already shown, is a refusal.
var errAnswerIsDeny = errors.New("the answer is a refusal")

// aboutError is a failure with what the command was about, for the advice.
type aboutError struct {
	err             error
	tenant, subject string
}

func (e aboutError) Error() string { return e.err.Error() }
func (e aboutError) Unwrap() error { return e.err }

// about notes what a failed call was about.
func (a *app) about(err error, tenant, subject string) error {
	return aboutError{err: err, tenant: tenant, subject: subject}
}

// exitCode says what a command's error means, on stderr and as an exit code.
func (a *app) exitCode(err error) int {
	var denied *client.Denied
	var failure *client.Error
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errAnswerIsDeny):
		return exitDenied
	case errors.As(err, &usage):
		fmt.Fprintln(a.stderr, "domicile:", err)
		return exitUsage
	case errors.As(err, &denied):
		a.printFailure(err, func(w io.Writer) { a.printDenied(w, err, denied) })
		return exitDenied
	case errors.As(err, &failure):
		a.printFailure(err, func(w io.Writer) { a.printError(w, failure) })
		return errorCode(failure)
	}
	fmt.Fprintln(a.stderr, "domicile:", err)
	return exitError
}

func errorCode(e *client.Error) int {
	if e.Retryable() || e.Code == codes.DeadlineExceeded {
		return exitRetry
	}
	return exitError
}

// printFailure writes a gateway's refusal or failure for people or, with -o
// json, as the google.rpc.Status that came.
func (a *app) printFailure(err error, people func(io.Writer)) {
	if a.flags.Output == "json" {
		if text, jsonErr := stableJSON(asItCame(err).Proto()); jsonErr == nil {
			fmt.Fprint(a.stderr, string(text))
			return
		}
	}
	people(a.stderr)
}

// asItCame is the status within an error, without what was put around it since.
func asItCame(err error) *status.Status {
	var sent interface{ GRPCStatus() *status.Status }
	if errors.As(err, &sent) && sent.GRPCStatus() != nil {
		return sent.GRPCStatus()
	}
	return status.Convert(err)
}

func (a *app) printDenied(w io.Writer, err error, d *client.Denied) {
	fmt.Fprintf(w, "denied: %s\n", d.Reason)
	for _, line := range [][2]string{
		{"why", printable(d.GRPCStatus().Message())}, {"clause", d.Clause}, {"", ruleOf(d.Clause)}, {"way", wayText(d.From, d.To)}, {"data", d.DataClass},
		{"missing", strings.Join(d.Missing, ", ")}, {"decision", d.DecisionID},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "  %-9s %s\n", line[0], line[1])
		}
	}
	if d.Consent != nil {
		var about aboutError
		_ = errors.As(err, &about) // else placeholders stand for what it was about
		a.printNeeded(w, d.Consent, about.tenant, about.subject)
	}
	a.printRemedies(w, d)
	a.printAtHome(w, d)
}

// ruleOf says whose rule a clause is where that is not the policy's text.
func ruleOf(clause string) string {
	if strings.HasPrefix(clause, "product/") {
		return "(this product's own rule, not the policy's words)"
	}
	return ""
}

func (a *app) printError(w io.Writer, e *client.Error) {
	name := e.Reason
	if name == "" {
		name = e.Code.String()
	}
	fmt.Fprintf(w, "domicile: %s: %s\n", name, printable(e.Message))
	for _, v := range e.Violations {
		fmt.Fprintf(w, "  %s: %s\n", v.Field, v.Description)
	}
	if e.Reason == "CALLER_NOT_PERMITTED" {
		printPermission(w, e.Method)
	}
	if e.Endpoint != "" {
		fmt.Fprintf(w, "  %-9s --address %s\n", "call", printable(e.Endpoint))
	}
	if e.NotFollowed != nil {
		fmt.Fprintf(w, "  %-9s %s\n", "tried", printable(e.NotFollowed.Error()))
	}
	if e.DecisionID != "" {
		fmt.Fprintf(w, "  %-9s %s\n", "decision", e.DecisionID)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(w, "  %-9s in %s\n", "again", e.RetryAfter)
	}
	if e.Code == codes.Unavailable && e.Reason == "" {
		a.printNoAnswer(w, e)
	}
}

// printNoAnswer says why nothing answered, as far as that can be told.
func (a *app) printNoAnswer(w io.Writer, e *client.Error) {
	switch {
	case e.TLS != nil:
		a.printTLS(w, e.TLS)
	case closedAtOnce(e.Message):
		fmt.Fprintln(w, "  What listens there closed the connection at once: it has too many open, of all or of this caller, or it is no gateway.")
	default:
		fmt.Fprintln(w, "  No gateway answers there. Start one with `make run`, or name another with --data or --address.")
	}
}

// closedAtOnce reports whether gRPC's text is about a connection that was made and
// then closed by the other side.
func closedAtOnce(message string) bool {
	if strings.Contains(message, "Error while dialing") {
		return false
	}
	for _, part := range []string{": EOF", "connection reset by peer", "broken pipe"} {
		if strings.Contains(message, part) {
			return true
		}
	}
	return false
}
