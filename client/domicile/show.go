package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// show writes an answer: its JSON, or the fields of the part that people want
// and the decision that permitted it.
func (a *app) show(answer, part proto.Message) error {
	if a.flags.Output == "json" {
		return a.json(answer)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, f := range fields("", part.ProtoReflect()) {
		fmt.Fprintf(w, "%s\t%s\n", f.name, f.value)
	}
	if a.decision != "" {
		fmt.Fprintf(w, "decision\t%s\n", a.decision)
	}
	return w.Flush()
}

// done writes an answer that says nothing but that the thing is done.
func (a *app) done(answer proto.Message, text string) error {
	if a.flags.Output == "json" {
		return a.json(answer)
	}
	return a.note(text)
}

// note writes a line for people, with the decision, where it does not mix with data.
func (a *app) note(text string) error {
	if a.flags.Output == "json" {
		return nil
	}
	if a.decision != "" {
		text += " (decision " + a.decision + ")"
	}
	_, err := fmt.Fprintln(a.stderr, text)
	return err
}

// json writes a message in protobuf's JSON mapping with the protos' own field
// names, in a layout that does not change from run to run.
func (a *app) json(m proto.Message) error {
	text, err := stableJSON(m)
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(text)
	return err
}

func stableJSON(m proto.Message) ([]byte, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// limitFlag bounds a list.
type limitFlag struct {
	Limit int `default:"100" placeholder:"N" help:"How many to list at the most; 0 = all (default 100)."`
}

// largestPage is the most items that a page may have.
const largestPage = 1000

func (l limitFlag) page() int32 {
	if l.Limit <= 0 || l.Limit > largestPage {
		return largestPage
	}
	return int32(l.Limit)
}

// collect takes items until there are no more or the limit is reached; 0 = no limit.
func collect[T any](limit int, items iter.Seq2[T, error]) ([]T, error) {
	var out []T
	for item, err := range items {
		if err != nil {
			return nil, err
		}
		out = append(out, item)
		if limit > 0 && len(out) == limit {
			break
		}
	}
	return out, nil
}

// column is a column of a table.
type column[T any] struct {
	head string
	cell func(T) string
}

// list writes items as a table, or the whole as JSON.
func list[T any](a *app, whole proto.Message, items []T, columns []column[T]) error {
	if a.flags.Output == "json" {
		return a.json(whole)
	}
	if len(items) == 0 {
		return a.note("nothing to list")
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	heads := make([]string, len(columns))
	for i, c := range columns {
		heads[i] = c.head
	}
	writeRow(w, heads)
	for _, item := range items {
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = printable(c.cell(item))
		}
		writeRow(w, cells)
	}
	return w.Flush()
}

func writeRow(w io.Writer, cells []string) {
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}

// field is a field of a message, as people see it.
type field struct{ name, value string }

// fields lists what a message holds, nested messages' fields under their own
// names with the outer name in front, in the protos' order.
func fields(prefix string, m protoreflect.Message) []field {
	var out []field
	descriptors := m.Descriptor().Fields()
	for i := range descriptors.Len() {
		f := descriptors.Get(i)
		if !m.Has(f) {
			continue
		}
		name := prefix + string(f.Name())
		v := m.Get(f)
		switch {
		case f.IsMap():
			out = append(out, mapFields(name, v.Map())...)
		case f.IsList():
			out = append(out, listFields(name, f, v.List())...)
		case f.Message() != nil:
			out = append(out, messageFields(name, v.Message())...)
		default:
			out = append(out, field{name, scalar(f, v)})
		}
	}
	return out
}

func messageFields(name string, m protoreflect.Message) []field {
	switch v := m.Interface().(type) {
	case *timestamppb.Timestamp:
		return []field{{name, timeText(v)}}
	case *residencyv1.Date:
		return []field{{name, fmt.Sprintf("%04d-%02d-%02d", v.GetYear(), v.GetMonth(), v.GetDay())}}
	}
	return fields(name+".", m)
}

func mapFields(name string, m protoreflect.Map) []field {
	var out []field
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		out = append(out, field{printable(name + "." + k.String()), printable(v.String())})
		return true
	})
	slices.SortFunc(out, func(x, y field) int { return strings.Compare(x.name, y.name) })
	return out
}

func listFields(name string, f protoreflect.FieldDescriptor, l protoreflect.List) []field {
	if f.Message() != nil {
		var out []field
		for i := range l.Len() {
			out = append(out, messageFields(fmt.Sprintf("%s[%d]", name, i), l.Get(i).Message())...)
		}
		return out
	}
	var parts []string
	for i := range l.Len() {
		parts = append(parts, scalar(f, l.Get(i)))
	}
	return []field{{name, strings.Join(parts, ", ")}}
}

func scalar(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch f.Kind() {
	case protoreflect.EnumKind:
		return enumName(f.Enum(), v.Enum())
	case protoreflect.BoolKind:
		return yesText(v.Bool())
	case protoreflect.BytesKind:
		return fmt.Sprintf("%d bytes", len(v.Bytes()))
	default:
		return printable(v.String())
	}
}

// printable keeps stored text from steering the terminal: control characters
// and what is not text are shown as escapes.
func printable(s string) string {
	clean := func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }
	if strings.IndexFunc(s, clean) < 0 {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

func enumName(d protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	v := d.Values().ByNumber(n)
	if v == nil {
		return strconv.Itoa(int(n))
	}
	return strings.TrimPrefix(string(v.Name()), enumPrefix(d))
}

func enumText[E enumValue](e E) string { return enumName(e.Descriptor(), e.Number()) }

func enumTexts[E enumValue](es []E) string {
	var parts []string
	for _, e := range es {
		parts = append(parts, enumText(e))
	}
	return strings.Join(parts, ",")
}

func timeText(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Truncate(time.Second).Format(time.RFC3339)
}

func numberText(n int64) string { return strconv.FormatInt(n, 10) }

func yesText(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func wayText(from, to string) string {
	if to == "" || from == to {
		return from
	}
	return from + " → " + to
}

// methodText drops the package of a full method name.
func methodText(m string) string { return strings.TrimPrefix(m, "/residency.v1.") }

// sizeText gives a number of bytes in the largest unit that it is a whole number of.
func sizeText(n int64) string {
	for _, u := range byteUnits[:4] {
		if n >= 1<<u.shift && n%(1<<u.shift) == 0 {
			return strconv.FormatInt(n>>u.shift, 10) + " " + u.suffix
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}
