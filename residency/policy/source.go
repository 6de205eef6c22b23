package policy

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// FileError says what is wrong in a policy file, where, and what would be right.
type FileError struct {
	Line, Column int // from 1
	Problem      string
}

// Error gives the problem with its place.
func (e *FileError) Error() string {
	return fmt.Sprintf("policy file: line %d, column %d: %s", e.Line, e.Column, e.Problem)
}

// Bounds of a policy file. Together they bound what the YAML parser can be made
// to do: it recurses with the nesting, and takes time by the square of a mapping's keys.
const (
	maxFile  = 1 << 20 // bytes
	maxLine  = 1 << 10 // bytes, the line feed included
	maxLines = 10_000
	maxDepth = 8   // of brackets
	maxText  = 512 // bytes of one text
)

// source reads a policy file's nodes strictly. It keeps the first problem;
// after one, whatever it reads is empty.
type source struct{ err error }

// fail notes a problem at a node.
func (s *source) fail(at ast.Node, format string, args ...any) {
	if s.err != nil {
		return
	}
	e := &FileError{Line: 1, Column: 1, Problem: fmt.Sprintf(format, args...)}
	if pos := position(at); pos != nil {
		e.Line, e.Column = pos.Line, pos.Column
	}
	s.err = e
}

// position gives where a node begins, or nil. The YAML parser places a mapping at
// the colon after its first key; here it begins at that key.
func position(n ast.Node) *token.Position {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		n = m.Values[0].Key
	}
	if n == nil || n.GetToken() == nil {
		return nil
	}
	return n.GetToken().Position
}

// root gives a file's one top-level mapping.
func (s *source) root(file []byte) ast.Node {
	if s.err = checkBytes(file); s.err != nil {
		return nil
	}
	f, err := parser.ParseBytes(file, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		s.err = syntaxError(err)
		return nil
	}
	if len(f.Docs) != 1 || f.Docs[0].Body == nil {
		s.fail(nil, "want exactly one YAML document, a mapping")
		return nil
	}
	return f.Docs[0].Body
}

// checkBytes refuses what the YAML parser should not see.
func checkBytes(file []byte) error {
	switch {
	case len(file) > maxFile:
		return &FileError{1, 1, fmt.Sprintf("%d bytes: want at most %d", len(file), maxFile)}
	case !utf8.Valid(file):
		return &FileError{1, 1, "not UTF-8"}
	}
	line, depth := 0, 0
	for text := range bytes.Lines(file) {
		line++
		if line > maxLines {
			return &FileError{line, 1, fmt.Sprintf("want at most %d lines", maxLines)}
		}
		if len(text) > maxLine {
			return &FileError{line, maxLine + 1, fmt.Sprintf("a line of %d bytes: want at most %d", len(text), maxLine)}
		}
		for i, c := range text {
			switch {
			case c == '[' || c == '{':
				depth++
			case (c == ']' || c == '}') && depth > 0:
				depth--
			case c == '\t' || c == '\r' || c < ' ' && c != '\n' || c == 0x7f:
				return &FileError{line, i + 1, "a control character: want text, spaces and line feeds only"}
			}
			if depth > maxDepth {
				return &FileError{line, i + 1, fmt.Sprintf("brackets nest deeper than %d, or one is not closed", maxDepth)}
			}
		}
	}
	return nil
}

func syntaxError(err error) error {
	e := &FileError{Line: 1, Column: 1, Problem: "not YAML"}
	var y yaml.Error
	if !errors.As(err, &y) {
		return e
	}
	e.Problem = "not YAML: " + y.GetMessage()
	if t := y.GetToken(); t != nil && t.Position != nil {
		e.Line, e.Column = t.Position.Line, t.Position.Column
	}
	return e
}

// fields reads a mapping whose keys are among those allowed, each at most once.
func (s *source) fields(n ast.Node, what string, allowed ...string) map[string]ast.Node {
	out := make(map[string]ast.Node, len(allowed))
	for _, v := range s.pairs(n, what) {
		key, ok := v.Key.(*ast.StringNode)
		switch {
		case !ok:
			s.fail(v.Key, "a key of %s that is not plain text: want one of %s", what, strings.Join(allowed, ", "))
		case !slices.Contains(allowed, key.Value):
			s.fail(v.Key, "unknown key %s in %s: want one of %s", quote(key.Value), what, strings.Join(allowed, ", "))
		case out[key.Value] != nil:
			s.fail(v.Key, "key %s stands twice in %s: want it once", quote(key.Value), what)
		case v.Value == nil || v.Value.Type() == ast.NullType:
			s.fail(v.Key, "%s has no value: leave the key out or give one", quote(key.Value))
		default:
			out[key.Value] = v.Value
		}
	}
	return out
}

func (s *source) pairs(n ast.Node, what string) []*ast.MappingValueNode {
	if s.err != nil {
		return nil
	}
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}
	}
	s.fail(n, "want %s: a mapping of keys and values", what)
	return nil
}

// need reports a key that is missing from a mapping.
func (s *source) need(at ast.Node, fields map[string]ast.Node, what string, keys ...string) {
	for _, k := range keys {
		if fields[k] == nil {
			s.fail(at, "%s lacks the key %q", what, k)
		}
	}
}

// list reads a list of 1 to limit members.
func (s *source) list(n ast.Node, what string, limit int) []ast.Node {
	if s.err != nil || n == nil {
		return nil
	}
	l, ok := n.(*ast.SequenceNode)
	switch {
	case !ok:
		s.fail(n, "want %s: a list", what)
	case len(l.Values) == 0:
		s.fail(n, "%s is empty: leave the key out or list something", what)
	case len(l.Values) > limit:
		s.fail(n, "%s has %d members: want at most %d", what, len(l.Values), limit)
	default:
		return l.Values
	}
	return nil
}

// words reads a word, or a list of different words.
func (s *source) words(n ast.Node, what string) []ast.Node {
	if _, ok := n.(*ast.SequenceNode); !ok {
		return []ast.Node{n}
	}
	nodes := s.list(n, what, maxText)
	seen := make(map[string]bool, len(nodes))
	for _, m := range nodes {
		w := s.text(m, what)
		if seen[w] {
			s.fail(m, "%s stands twice in %s: want it once", quote(w), what)
		}
		seen[w] = true
	}
	return nodes
}

// text reads a text of 1 to maxText bytes on one line, in quotes or not.
func (s *source) text(n ast.Node, what string) string {
	if s.err != nil || n == nil {
		return ""
	}
	var v string
	switch t := n.(type) {
	case *ast.StringNode:
		v = t.Value
	case *ast.LiteralNode:
		if t.Value != nil {
			v = t.Value.Value
		}
	default:
		s.fail(n, "want %s: a text", what)
		return ""
	}
	v = strings.TrimSpace(v)
	if v == "" || len(v) > maxText || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		s.fail(n, "want %s: a text of 1 to %d bytes on one line", what, maxText)
		return ""
	}
	return v
}

// number reads a whole decimal number between two bounds.
func (s *source) number(n ast.Node, what string, low, high int) int {
	if s.err != nil || n == nil {
		return 0
	}
	if i, ok := n.(*ast.IntegerNode); ok {
		if v, err := strconv.Atoi(i.GetToken().Value); err == nil && low <= v && v <= high {
			return v
		}
	}
	s.fail(n, "want %s: a whole number from %d to %d", what, low, high)
	return 0
}

// flag reads true or false.
func (s *source) flag(n ast.Node, what string) bool {
	if s.err != nil || n == nil {
		return false
	}
	b, ok := n.(*ast.BoolNode)
	if !ok {
		s.fail(n, "want %s: true or false", what)
		return false
	}
	return b.Value
}

// quote quotes a file's word for an error, cut to a readable length.
func quote(v string) string {
	const most = 40
	if len(v) > most {
		v = strings.ToValidUTF8(v[:most], "") + "…"
	}
	return strconv.Quote(v)
}
