package rpc

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/domicile-project/domicile/residency"
)

// maxViolations is the most that one refusal lists, and maxListed the largest
// message, in bytes, whose violations are all looked for. Beyond that the first is told.
const (
	maxViolations = 32
	maxListed     = 16 << 10
)

// forms checks requests by the rules that the protos state. Safe for concurrent use.
type forms struct {
	sure  map[protoreflect.FullName]*sureForm
	first protovalidate.Validator // stops at the first violation
	all   protovalidate.Validator
}

// newForms compiles the rules of every request, so that no call pays for it
// and a rule that does not compile stops the start.
func newForms(requests []protoreflect.MessageDescriptor) (*forms, error) {
	first, err := protovalidate.New(protovalidate.WithMessageDescriptors(requests...), protovalidate.WithFailFast())
	if err != nil {
		return nil, fmt.Errorf("rpc: validation rules: %w", err)
	}
	all, err := protovalidate.New(protovalidate.WithMessageDescriptors(requests...))
	if err != nil {
		return nil, fmt.Errorf("rpc: validation rules: %w", err)
	}
	sure := sureForms{}
	for _, d := range requests {
		sure.of(d)
	}
	return &forms{sure, first, all}, nil
}

// check gives nil for a request that keeps every rule, else a BadRequest that
// names the fields and what would be right, never a value.
func (f *forms) check(m proto.Message) *residency.Error {
	r := m.ProtoReflect()
	if sure := f.sure[r.Descriptor().FullName()]; sure != nil && sure.holds(r) {
		return nil
	}
	err := f.first.Validate(m)
	if err == nil {
		return nil
	}
	if proto.Size(m) <= maxListed {
		err = f.all.Validate(m)
	}
	var invalid *protovalidate.ValidationError
	if !errors.As(err, &invalid) {
		return residency.E("rpc.gate", residency.Internal, err)
	}
	bad := &residency.Error{Op: "rpc.gate", Kind: residency.BadRequest}
	for _, v := range invalid.Violations[:min(len(invalid.Violations), maxViolations)] {
		bad.Violations = append(bad.Violations, residency.Violation{
			Field:       fieldName(v.Proto.GetField()),
			Description: describe(v.Proto),
		})
	}
	return bad
}

// plain are words for people in place of the validator's, which show a rule as it is written.
var plain = map[string]string{
	"value is required":                                "must be stated",
	"must not be in list [0]":                          "must be stated",
	"must be at least 1 characters":                    "must be stated",
	"must contain at least 1 item(s)":                  "must name at least one",
	matches("^[A-Z]{2}$"):                              "must be an ISO 3166-1 alpha-2 code in upper case, for example CH",
	matches("^[a-z0-9][a-z0-9-]{0,31}$"):               "must be a region's name: 1 to 32 lower-case letters, digits and hyphens",
	matches("^[A-Z][A-Z_]{0,63}$"):                     "must be a reason of the error catalogue, for example NOT_FOUND",
	matches("^sha256:[0-9a-f]{64}$"):                   "must be sha256: and 64 hexadecimal digits in lower case",
	matches(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`):       "must be 1 to 64 letters, digits, dots, underscores and hyphens, the first a letter or a digit",
	matches(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$`): "must be a language tag, for example de-CH",
	matches(`^(full_name|postal_address|phone_number|email_address|birth_date|residence|source_party|attributes([.].{1,64})?)$`): "must be full_name, postal_address, phone_number, email_address, birth_date, residence, source_party, attributes or attributes.NAME",
}

func matches(pattern string) string { return "does not match regex pattern `" + pattern + "`" }

// describe gives what would be right, in fixed words.
func describe(v *validate.Violation) string {
	text := v.GetMessage()
	if words, ok := plain[text]; ok {
		return words
	}
	if text != "" {
		return text
	}
	return "breaks the rule " + v.GetRuleId()
}

// fieldName gives a field's path. A map's key is left out: it is what the caller
// sent and may be personal.
func fieldName(p *validate.FieldPath) string {
	var b strings.Builder
	for i, e := range p.GetElements() {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(e.GetFieldName())
		switch e.WhichSubscript() {
		case 0:
		case validate.FieldPathElement_Index_case:
			b.WriteString("[" + strconv.FormatUint(e.GetIndex(), 10) + "]")
		default:
			b.WriteString("[…]")
		}
	}
	return b.String()
}
