package config

import (
	"fmt"
	"reflect"
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// form finds everything in a file whose form is wrong, so that an operator is
// told of all of it at once; the decoder stops at the first. What it finds it takes out
// of the tree, so that the rest can be decoded and validated as well.
type form struct {
	src      *source
	problems Problems
}

func (f *form) bad(p path, n ast.Node, text string) {
	out := Problem{File: f.src.name, Path: p.String(), Text: text}
	if t := n.GetToken(); t != nil {
		out.Line, out.Column = t.Position.Line, t.Position.Column
	}
	f.problems = append(f.problems, out)
}

// fits reports whether a node can be a value of a type. Parts of it that cannot
// are taken out.
func (f *form) fits(p path, n ast.Node, t reflect.Type) bool {
	switch v := n.(type) {
	case *ast.AnchorNode:
		return f.fits(p, v.Value, t)
	case *ast.AliasNode, *ast.NullNode: // judged at its anchor; nothing to judge
		return true
	case *ast.TagNode:
		f.bad(p, n, "want the value without a tag; put text in quotes")
		return false
	}
	switch {
	case t.Kind() == reflect.Pointer:
		return f.fits(p, n, t.Elem())
	case t.Kind() == reflect.Struct || t.Kind() == reflect.Map:
		return f.mapping(p, n, t)
	case t.Kind() == reflect.Slice:
		return f.sequence(p, n, t)
	}
	return f.scalar(p, n, t)
}

func (f *form) mapping(p path, n ast.Node, t reflect.Type) bool {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		f.bad(p, n, "want a mapping of names to values")
		return false
	}
	kept := m.Values[:0]
	for _, v := range m.Values {
		if f.entry(p, v, t) {
			kept = append(kept, v)
		}
	}
	m.Values = kept
	return true
}

func (f *form) entry(p path, v *ast.MappingValueNode, t reflect.Type) bool {
	if v.Key.IsMergeKey() {
		return true
	}
	name := v.Key.GetToken().Value
	if t.Kind() == reflect.Map {
		if !isText(v.Key) {
			f.bad(p.with(name), v.Key, "want a name that is text: put it in quotes")
			return false
		}
		return f.fits(p.with(name), v.Value, t.Elem())
	}
	for i := range t.NumField() {
		if field := t.Field(i); field.IsExported() && tagOf(field) == name {
			return f.fits(p.with(name), v.Value, field.Type)
		}
	}
	f.bad(p, v.Key, fmt.Sprintf("unknown field %q", name))
	return false
}

func (f *form) sequence(p path, n ast.Node, t reflect.Type) bool {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		f.bad(p, n, "want a list")
		return false
	}
	good := true
	for i, v := range s.Values {
		good = f.fits(p.with(i), v, t.Elem()) && good
	}
	return good
}

func (f *form) scalar(p path, n ast.Node, t reflect.Type) bool {
	v, ok := n.(ast.ScalarNode)
	switch {
	case !ok:
		f.bad(p, n, "want a single value")
		return false
	case t.Kind() == reflect.String && !isText(v):
		f.bad(p, n, fmt.Sprintf("want text, but YAML reads this as %s: put it in quotes", kindOfScalar(v)))
		return false
	case t.Kind() == reflect.String:
		return true
	}
	text := fmt.Sprint(v.GetValue())
	if i, ok := v.(*ast.IntegerNode); ok && !isDecimal(i.Token) {
		f.bad(p, n, "want a decimal number without leading zeros")
		return false
	}
	if err := setScalar(reflect.New(t).Elem(), text); err != nil {
		f.bad(p, n, err.Error())
		return false
	}
	return true
}

// isText reports whether YAML reads a scalar as text. The decoder would take a
// number for text as well, but another one than was written: 010 for 8.
func isText(n ast.Node) bool {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return true
	}
	return false
}

func kindOfScalar(n ast.Node) string {
	if _, ok := n.(*ast.BoolNode); ok {
		return "true or false"
	}
	return "a number"
}

// isDecimal reports whether a number means to YAML what it does to a reader: 010 is eight.
func isDecimal(t *token.Token) bool {
	n, err := strconv.ParseInt(t.Value, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == t.Value
}
