package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// enumValue is a generated enumeration.
type enumValue interface {
	~int32
	protoreflect.Enum
}

// enum is a flag that takes a value of an enumeration by its name, without the
// enumeration's prefix and in any letter case.
type enum[E enumValue] struct{ value E }

// UnmarshalText reads a name.
func (f *enum[E]) UnmarshalText(text []byte) error {
	want := strings.ToUpper(strings.ReplaceAll(string(text), "-", "_"))
	for _, name := range enumNames(f.value.Descriptor()) {
		if name == want {
			full := enumPrefix(f.value.Descriptor()) + name
			f.value = E(f.value.Descriptor().Values().ByName(protoreflect.Name(full)).Number())
			return nil
		}
	}
	return fmt.Errorf("want one of %s", strings.Join(enumNames(f.value.Descriptor()), ", "))
}

func values[E enumValue](flags []enum[E]) []E {
	var out []E
	for _, f := range flags {
		out = append(out, f.value)
	}
	return out
}

// enumPrefix is what the names of an enumeration's values start with, for example "DATA_CLASS_".
func enumPrefix(d protoreflect.EnumDescriptor) string {
	return strings.TrimSuffix(string(d.Values().Get(0).Name()), "UNSPECIFIED")
}

// enumNames lists the names of an enumeration but the unspecified one, without their prefix.
func enumNames(d protoreflect.EnumDescriptor) []string {
	var names []string
	for i := 1; i < d.Values().Len(); i++ {
		names = append(names, strings.TrimPrefix(string(d.Values().Get(i).Name()), enumPrefix(d)))
	}
	return names
}

// enumVars lets help texts list what an enumeration holds.
func enumVars() kong.Vars {
	vars := kong.Vars{}
	for name, e := range map[string]protoreflect.Enum{
		"purposes": residencyv1.Purpose(0), "classes": residencyv1.DataClass(0), "sources": residencyv1.Source(0),
		"kinds": residencyv1.ConsentKind(0), "states": residencyv1.ConsentState(0), "actions": residencyv1.Action(0),
		"recipients": residencyv1.RecipientKind(0), "parties": residencyv1.Party(0), "outcomes": residencyv1.Outcome(0),
		"stages": residencyv1.TransactionStage(0), "orderstates": residencyv1.LegalOrderState(0), "casestates": residencyv1.AbuseCaseState(0),
	} {
		vars[name] = strings.Join(enumNames(e.Descriptor()), ", ")
	}
	return vars
}

// seconds is a positive duration.
type seconds time.Duration

// UnmarshalText reads a duration such as "15s".
func (f *seconds) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 {
		return fmt.Errorf("want a positive duration, for example 15s or 2m")
	}
	*f = seconds(d)
	return nil
}

// moment is a flag that takes a time, or how far from now it is; the zero
// moment is none.
type moment struct{ time.Time }

// UnmarshalText reads an RFC 3339 time or a duration from now.
func (f *moment) UnmarshalText(text []byte) error {
	if d, err := time.ParseDuration(string(text)); err == nil {
		f.Time = time.Now().Add(d)
		return nil
	}
	t, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return fmt.Errorf("want a duration from now such as 720h, or a time such as 2030-01-31T00:00:00Z")
	}
	f.Time = t
	return nil
}

// timestamp gives the moment as the wire has it; nil for none.
func (f moment) timestamp() *timestamppb.Timestamp {
	if f.IsZero() {
		return nil
	}
	return timestamppb.New(f.Time)
}

// bytesFlag is a number of bytes.
type bytesFlag int64

var byteUnits = []struct {
	suffix string
	shift  uint
}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}, {"B", 0}, {"", 0}}

// UnmarshalText reads a whole number of bytes, KiB, MiB, GiB or TiB.
func (f *bytesFlag) UnmarshalText(text []byte) error {
	for _, u := range byteUnits {
		digits, ok := strings.CutSuffix(string(text), u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 0 || n > (1<<62)>>u.shift {
			break
		}
		*f = bytesFlag(n << u.shift)
		return nil
	}
	return fmt.Errorf("want a whole number of bytes, for example 1048576, 64MiB or 2GiB")
}

// date reads a calendar date; "" is none.
func date(flag, text string) (*residencyv1.Date, error) {
	if text == "" {
		return nil, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return nil, usagef("%s: want a date as YEAR-MONTH-DAY", flag)
	}
	return &residencyv1.Date{Year: int32(t.Year()), Month: int32(t.Month()), Day: int32(t.Day())}, nil
}

// jsonInto reads a message from a file, "-" for the standard input, in
// protobuf's JSON mapping. Faults are named without the file's content, which may be personal.
func (a *app) jsonInto(name string, m proto.Message) error {
	if name == "" {
		return nil
	}
	text, err := a.readFile(name)
	if err != nil {
		return err
	}
	if err := protojson.Unmarshal(text, m); err != nil {
		return usagef("--from: not a %s in JSON: the fields are those of the residency.v1 protos, in snake_case or camelCase", m.ProtoReflect().Descriptor().Name())
	}
	return nil
}

func (a *app) readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(a.stdin)
	}
	return os.ReadFile(name)
}

// evidenceFlags say how it is known that somebody agreed.
type evidenceFlags struct {
	Method         string `placeholder:"TEXT" help:"How the consent was given, for example \"signed form\"."`
	Grantor        string `placeholder:"TEXT" help:"Who gave it."`
	NoticeLanguage string `placeholder:"TAG" help:"The language of the notice that was shown, for example de-CH."`
	Notice         string `placeholder:"FILE" help:"The notice that was shown: its digest is recorded."`
	NoticeDigest   string `placeholder:"DIGEST" help:"The notice's digest, instead of the file: sha256: and 64 hexadecimal digits."`
	StatementTime  moment `placeholder:"TIME" help:"When the statement was made (default now)."`
}

// evidence gives what was stated on top of what is there; nil when nothing is.
func (f evidenceFlags) evidence(e *residencyv1.Evidence) (*residencyv1.Evidence, error) {
	if f == (evidenceFlags{}) {
		return e, nil
	}
	if e == nil {
		e = &residencyv1.Evidence{}
	}
	digest, err := f.digest()
	if err != nil {
		return nil, err
	}
	setText(&e.Method, f.Method)
	setText(&e.Grantor, f.Grantor)
	setText(&e.NoticeLanguage, f.NoticeLanguage)
	setText(&e.NoticeDigest, digest)
	if t := f.StatementTime.timestamp(); t != nil {
		e.StatementTime = t
	}
	return e, nil
}

func (f evidenceFlags) digest() (string, error) {
	if f.Notice == "" {
		return f.NoticeDigest, nil
	}
	if f.NoticeDigest != "" {
		return "", usagef("--notice and --notice-digest: want one of the two")
	}
	notice, err := os.ReadFile(f.Notice)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(notice)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// setText sets a field to a flag, unless that was not given.
func setText(field *string, flag string) {
	if flag != "" {
		*field = flag
	}
}
