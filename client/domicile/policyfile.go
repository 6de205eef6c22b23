package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/domicile-project/domicile/residency/policy"
)

// isFile tells a policy file from a region on the command line: a region's name
// has neither a dot nor a slash, and a file's has one.
func isFile(name string) bool { return strings.ContainsAny(name, "./\\") }

// policyFile reads a policy file: the one of that path or, when there is none, the one
// of that name or version that comes with the program.
func policyFile(name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err == nil {
		return text, nil
	}
	for _, shipped := range []string{name, name + ".yaml"} {
		if text, ok := policy.Shipped(shipped); ok {
			return text, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist; with the program come %s", name, strings.Join(policy.ShippedNames(), " and "))
	}
	return nil, err
}

func parsePolicy(name string) (*policy.Policy, error) {
	text, err := policyFile(name)
	if err != nil {
		return nil, err
	}
	p, err := policy.Parse(text)
	var wrong *policy.FileError
	if errors.As(err, &wrong) {
		return nil, fmt.Errorf("%s:%d:%d: %s", name, wrong.Line, wrong.Column, wrong.Problem)
	}
	return p, err
}

func parsePolicies(names []string) ([]*policy.Policy, error) {
	out := make([]*policy.Policy, len(names))
	for i, name := range names {
		p, err := parsePolicy(name)
		if err != nil {
			return nil, err
		}
		out[i] = p
	}
	return out, nil
}

// value writes what is no message of the interface as JSON, in the same layout.
func (a *app) value(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
