package config

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Problem is one thing wrong with a configuration: where and what would be right.
type Problem struct {
	File   string // the file, or "" for a configuration made in code
	Line   int    // from 1; 0 = nowhere in the file
	Column int
	Path   string // for example "regions.ch.clusters[0].location"
	Text   string // what would be right
}

// String gives the problem as "file:line:column: path: text".
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
		if p.Line > 0 {
			fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
		}
		b.WriteString(" ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems is everything that is wrong with a configuration, in the file's order.
type Problems []Problem

// Error gives one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

var _ error = Problems(nil)

// path is a place in the file: keys and indices from the root.
type path []any

func (p path) with(steps ...any) path { return append(p[:len(p):len(p)], steps...) }

func (p path) String() string {
	var b strings.Builder
	for _, step := range p {
		switch s := step.(type) {
		case int:
			b.WriteString("[" + strconv.Itoa(s) + "]")
		case string:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s)
		}
	}
	return b.String()
}

// source is the file that a configuration came from, for positions.
type source struct {
	name   string // as it was given
	folder string // relative paths start there
	root   ast.Node
}

// node finds the value at a place, or nil.
func (s *source) node(p path) ast.Node {
	if s == nil || s.root == nil {
		return nil
	}
	b := (&yaml.PathBuilder{}).Root()
	for _, step := range p {
		switch v := step.(type) {
		case int:
			b = b.Index(uint(v))
		case string:
			b = b.Child(v)
		}
	}
	n, err := b.Build().FilterNode(s.root)
	if err != nil {
		return nil
	}
	return n
}

// problem places a problem in the file: where its path is or, when that is not in the
// file, at the nearest part of the path that is.
func (s *source) problem(p path, text string) Problem {
	out := Problem{Path: p.String(), Text: text}
	if s == nil {
		return out
	}
	out.File = s.name
	for ; len(p) > 0; p = p[:len(p)-1] {
		if n := s.node(p); n != nil && n.GetToken() != nil {
			at := n.GetToken().Position
			out.Line, out.Column = at.Line, at.Column
			break
		}
	}
	return out
}

// decodeProblem turns an error of the YAML decoder into a problem. The decoder's own
// message may quote the file, so only its first line is taken.
func (s *source) decodeProblem(err error) Problem {
	out := Problem{File: s.name, Text: firstLine(err.Error())}
	var at yaml.Error
	if errors.As(err, &at) {
		out.Text = firstLine(at.GetMessage())
		if tok := at.GetToken(); tok != nil {
			out.Line, out.Column = tok.Position.Line, tok.Position.Column
		}
	}
	return out
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

func (ps Problems) sorted() Problems {
	sort.SliceStable(ps, func(i, j int) bool {
		a, b := ps[i], ps[j]
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Column < b.Column
	})
	return ps
}
