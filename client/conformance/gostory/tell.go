package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/domicile-project/domicile/client"
)

// teller does a story's steps.
type teller struct {
	*story
	clients map[string]*client.Client
}

func newTeller(s *story) *teller { return &teller{story: s, clients: make(map[string]*client.Client)} }

func (t *teller) close() {
	for _, c := range t.clients {
		c.Close()
	}
}

// tell does the steps that are asked for and reports whether none failed.
func (t *teller) tell(ctx context.Context, only string, skip []string, out io.Writer) bool {
	var passed, failed, skipped int
	for i := range t.Steps {
		s := &t.Steps[i]
		if !s.Always && !strings.Contains(s.Name, only) {
			continue
		}
		if s.Needs != "" && slices.Contains(skip, s.Needs) {
			skipped++
			fmt.Fprintf(out, "skip %d - %s: the client has no %s\n", i+1, s.Name, s.Needs)
			continue
		}
		if err := t.do(ctx, s); err != nil {
			failed++
			fmt.Fprintf(out, "not ok %d - %s: %v\n", i+1, s.Name, err)
			continue
		}
		passed++
		fmt.Fprintf(out, "ok %d - %s\n", i+1, s.Name)
	}
	fmt.Fprintf(out, "passed %d failed %d skipped %d\n", passed, failed, skipped)
	return failed == 0
}

// outcome is what an action came to.
type outcome struct {
	gave     any
	err      error
	decision string
	endpoint string
}

// do does a step and says what is different from what it must come to.
func (t *teller) do(ctx context.Context, s *step) error {
	if s.Again != nil {
		return t.doAgain(ctx, s)
	}
	got, err := t.act(ctx, s)
	if err != nil {
		return err
	}
	if err := t.compare(s, &got); err != nil {
		return err
	}
	return t.keep(s, &got)
}

// doAgain does a step again and again until it comes to what it must.
func (t *teller) doAgain(ctx context.Context, s *step) error {
	if len(s.Again.Steps) != 1 {
		return errors.New("again has not one step")
	}
	inner := s.Again.Steps[0]
	inner.Keep = s.Keep
	end := time.Now().Add(time.Duration(s.Again.WithinMS) * time.Millisecond)
	for {
		err := t.do(ctx, &inner)
		if err == nil || time.Now().After(end) || ctx.Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// compare holds an outcome against the step's expectation.
func (t *teller) compare(s *step, got *outcome) error {
	expect := s.Expect
	if expect == nil {
		expect = &expectation{OK: map[string]any{}}
	}
	what, gave, wanted := describe(got), got.gave, "ok"
	shape := expect.OK
	switch {
	case expect.Denied != nil:
		wanted, shape = "denied", expect.Denied
		gave = deniedShape(got.err)
	case expect.Error != nil:
		wanted, shape = "error", expect.Error
		gave = errorShape(got.err)
	}
	if what != wanted {
		return fmt.Errorf("it came to %s, want %s", tell(got, what), wanted)
	}
	if err := t.fits(what, gave, shape); err != nil {
		return err
	}
	if err := t.fits("decision", textOrNil(got.decision), s.Decision); s.Decision != nil && err != nil {
		return err
	}
	if s.Endpoint == nil {
		return nil
	}
	var endpoint any
	if err := json.Unmarshal(s.Endpoint, &endpoint); err != nil {
		return err
	}
	return t.fits("endpoint", textOrNil(got.endpoint), endpoint)
}

func (t *teller) fits(path string, got, shape any) error {
	shape, err := t.fill(shape)
	if err != nil {
		return err
	}
	if got, err = plain(got); err != nil {
		return err
	}
	if how := differs(path, got, shape); how != "" {
		return errors.New(how)
	}
	return nil
}

func describe(got *outcome) string {
	var denied *client.Denied
	switch {
	case got.err == nil:
		return "ok"
	case errors.As(got.err, &denied):
		return "denied"
	}
	return "error"
}

// tell adds an error's own text, which holds nothing personal.
func tell(got *outcome, what string) string {
	if got.err != nil {
		return what + " (" + got.err.Error() + ")"
	}
	return what
}

func textOrNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// keep notes what a step gave under the names that it says.
func (t *teller) keep(s *step, got *outcome) error {
	for name, path := range s.Keep {
		if path == "$decision" {
			t.known[name] = got.decision
			continue
		}
		v, err := plain(got.gave)
		if err != nil {
			return err
		}
		for _, part := range strings.Split(path, ".") {
			v = member(v, part)
		}
		if v == nil {
			return fmt.Errorf("there is no %s to keep", path)
		}
		t.known[name] = v
	}
	return nil
}

func member(v any, part string) any {
	switch v := v.(type) {
	case map[string]any:
		return v[part]
	case []any:
		if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(v) {
			return v[i]
		}
	}
	return nil
}

// deniedShape is a refusal by the policy as the story has it; nil of another error.
func deniedShape(err error) any {
	var d *client.Denied
	if !errors.As(err, &d) {
		return nil
	}
	out := texts("reason", d.Reason, "clause", d.Clause, "decisionId", d.DecisionID, "from", d.From, "to", d.To, "dataClass", d.DataClass)
	if len(d.Missing) > 0 {
		out["missing"] = d.Missing
	}
	if c := d.Consent; c != nil {
		out["consent"] = texts("kind", c.Kind, "dataClass", c.DataClass, "purpose", c.Purpose, "from", c.From, "to", c.To)
	}
	return out
}

// errorShape is any other failure as the story has it.
func errorShape(err error) any {
	var unverified *notVerified
	if errors.As(err, &unverified) {
		return texts("code", "NOT_VERIFIED")
	}
	var e *client.Error
	if !errors.As(err, &e) {
		return nil
	}
	out := texts("code", codeName(e.Code), "reason", e.Reason, "decisionId", e.DecisionID, "endpoint", e.Endpoint)
	out["retryable"], out["tls"] = e.Retryable(), e.TLS != nil
	var violations []any
	for _, v := range e.Violations {
		violations = append(violations, texts("field", v.Field))
	}
	if violations != nil {
		out["violations"] = violations
	}
	return out
}

// texts makes an object of names and texts; an empty one is left out.
func texts(pairs ...string) map[string]any {
	out := make(map[string]any)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out[pairs[i]] = pairs[i+1]
		}
	}
	return out
}
