package rpc

import (
	"regexp"
	"regexp/syntax"
	"unicode/utf8"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// sureForm tells of most messages that keep the rules of their form that they
// do, in a fraction of the time that the validator takes. It never tells that
// one does not: what it is not sure of, rules that it does not know
// included, is the validator's to judge, so no refusal changes by it.
type sureForm struct {
	fields []sureField
	oneofs []protoreflect.OneofDescriptor // one field of each must be set
	never  bool                           // the message has rules that are not known here
}

// sureField is what is known of one field. It is not looked at while it is unset
// and need not be set.
type sureField struct {
	field    protoreflect.FieldDescriptor
	required bool
	skips    bool // nothing is asked of it while it is unset
	keeps    keeps
}

// keeps reports whether a value surely keeps the rules.
type keeps func(protoreflect.Value) bool

// holds reports whether a message surely keeps every rule.
func (s *sureForm) holds(m protoreflect.Message) bool {
	if s.never {
		return false
	}
	for i := range s.fields {
		f := &s.fields[i]
		if f.required || f.skips {
			if !m.Has(f.field) {
				if f.required {
					return false
				}
				continue
			}
		}
		if f.keeps != nil && !f.keeps(m.Get(f.field)) {
			return false
		}
	}
	for _, o := range s.oneofs {
		if m.WhichOneof(o) == nil {
			return false
		}
	}
	return true
}

// sureForms makes a form for every message that it meets.
type sureForms map[protoreflect.FullName]*sureForm

// of gives the form of a message type.
func (all sureForms) of(d protoreflect.MessageDescriptor) *sureForm {
	if s := all[d.FullName()]; s != nil {
		return s
	}
	s := &sureForm{}
	all[d.FullName()] = s
	rules, err := protovalidate.ResolveMessageRules(d)
	s.never = err != nil || rules != nil && !onlyHas(rules.ProtoReflect())
	for i := range d.Fields().Len() {
		if f, ask := all.field(d.Fields().Get(i)); ask {
			s.fields = append(s.fields, f)
		}
	}
	for i := range d.Oneofs().Len() {
		o := d.Oneofs().Get(i)
		switch rules, err := protovalidate.ResolveOneofRules(o); {
		case err != nil || rules != nil && !onlyHas(rules.ProtoReflect(), "required"):
			s.never = true
		case rules.GetRequired():
			s.oneofs = append(s.oneofs, o)
		}
	}
	return s
}

// field gives what is asked of a field; ask is false when nothing is.
func (all sureForms) field(d protoreflect.FieldDescriptor) (f sureField, ask bool) {
	rules, err := protovalidate.ResolveFieldRules(d)
	if err != nil {
		return sureField{field: d, keeps: unsure}, true
	}
	if rules.GetIgnore() == validate.Ignore_IGNORE_ALWAYS {
		return f, false
	}
	f = sureField{
		field: d, required: rules.GetRequired(),
		skips: d.HasPresence() || rules.GetIgnore() == validate.Ignore_IGNORE_IF_ZERO_VALUE,
	}
	switch {
	case d.IsMap():
		f.keeps = all.mapKeeps(d, rules)
	case d.IsList():
		f.keeps = all.listKeeps(d, rules)
	default:
		f.keeps = all.oneKeeps(d, rules)
	}
	return f, f.required || f.keeps != nil
}

// unsure is what stands for rules that are not known here.
func unsure(protoreflect.Value) bool { return false }

// onlyHas reports whether a message of rules has no other fields set than the named.
func onlyHas(rules protoreflect.Message, names ...protoreflect.Name) bool {
	only := len(rules.GetUnknown()) == 0
	rules.Range(func(d protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		known := false
		for _, n := range names {
			known = known || d.Name() == n && !d.IsExtension()
		}
		only = only && known
		return only
	})
	return only
}

// ruledBy reports whether a field's rules are, beside the general ones, of one kind only.
func ruledBy(rules *validate.FieldRules, kind protoreflect.Name) bool {
	return onlyHas(rules.ProtoReflect(), "required", "ignore", kind)
}

// oneKeeps gives the check of a single value, or nil when nothing is asked of it.
func (all sureForms) oneKeeps(d protoreflect.FieldDescriptor, rules *validate.FieldRules) keeps {
	if d.Message() != nil {
		if rules != nil && !ruledBy(rules, "") {
			return unsure
		}
		form := all.of(d.Message())
		return func(v protoreflect.Value) bool { return form.holds(v.Message()) }
	}
	switch {
	case rules == nil || ruledBy(rules, ""):
		return nil
	case d.Kind() == protoreflect.StringKind && ruledBy(rules, "string"):
		return stringKeeps(rules.GetString())
	case d.Kind() == protoreflect.EnumKind && ruledBy(rules, "enum"):
		return enumKeeps(d.Enum(), rules.GetEnum())
	case d.Kind() == protoreflect.Int64Kind && ruledBy(rules, "int64"):
		return intKeeps(rules.GetInt64().ProtoReflect())
	case d.Kind() == protoreflect.Int32Kind && ruledBy(rules, "int32"):
		return intKeeps(rules.GetInt32().ProtoReflect())
	case d.Kind() == protoreflect.BoolKind && ruledBy(rules, "bool"):
		return boolKeeps(rules.GetBool())
	}
	return unsure
}

func boolKeeps(rules *validate.BoolRules) keeps {
	if !onlyHas(rules.ProtoReflect(), "const") {
		return unsure
	}
	want := rules.GetConst()
	return func(v protoreflect.Value) bool { return v.Bool() == want }
}

func enumKeeps(d protoreflect.EnumDescriptor, rules *validate.EnumRules) keeps {
	if !onlyHas(rules.ProtoReflect(), "defined_only", "not_in") {
		return unsure
	}
	ok := map[protoreflect.EnumNumber]bool{}
	for i := range d.Values().Len() {
		ok[d.Values().Get(i).Number()] = true
	}
	for _, n := range rules.GetNotIn() {
		delete(ok, protoreflect.EnumNumber(n))
	}
	return func(v protoreflect.Value) bool { return ok[v.Enum()] }
}

// intKeeps is for Int64Rules and Int32Rules alike.
func intKeeps(rules protoreflect.Message) keeps {
	if !onlyHas(rules, "gt", "gte", "lt", "lte") {
		return unsure
	}
	bound := func(name protoreflect.Name) (int64, bool) {
		d := rules.Descriptor().Fields().ByName(name)
		return rules.Get(d).Int(), rules.Has(d)
	}
	gt, above := bound("gt")
	gte, from := bound("gte")
	lt, below := bound("lt")
	lte, to := bound("lte")
	return func(v protoreflect.Value) bool {
		n := v.Int()
		return (!above || n > gt) && (!from || n >= gte) && (!below || n < lt) && (!to || n <= lte)
	}
}

func stringKeeps(rules *validate.StringRules) keeps {
	if !onlyHas(rules.ProtoReflect(), "pattern", "uuid", "min_len", "max_len", "min_bytes", "max_bytes") {
		return unsure
	}
	shape := func(string) bool { return true }
	if expr := rules.GetPattern(); rules.HasPattern() {
		if p, ok := newPattern(expr); ok {
			shape = p.matches
		} else if re, err := regexp.Compile(expr); err == nil {
			shape = re.MatchString
		} else {
			return unsure
		}
	}
	uuid := rules.GetUuid()
	minimum, maximum, counts := rules.GetMinLen(), rules.GetMaxLen(), rules.HasMinLen() || rules.HasMaxLen()
	least, most, limited := rules.GetMinBytes(), rules.GetMaxBytes(), rules.HasMaxBytes()
	if !rules.HasMaxLen() {
		maximum = 1 << 32
	}
	return func(v protoreflect.Value) bool {
		s := v.String()
		if n := uint64(len(s)); n < least || limited && n > most {
			return false
		}
		if counts {
			if n := uint64(utf8.RuneCountInString(s)); n < minimum || n > maximum { //nolint:gosec // a length is not negative
				return false
			}
		}
		return shape(s) && (!uuid || isUUID(s))
	}
}

// isUUID reports whether a string is a UUID in its usual form.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}

// listKeeps gives the check of a list, or nil when nothing is asked of it.
func (all sureForms) listKeeps(d protoreflect.FieldDescriptor, rules *validate.FieldRules) keeps {
	r := rules.GetRepeated()
	if rules != nil && (!ruledBy(rules, "repeated") || r != nil && !onlyHas(r.ProtoReflect(), "min_items", "max_items", "unique", "items")) {
		return unsure
	}
	items := r.GetItems()
	if r.GetUnique() && distinct[d.Kind()] == nil || items.GetRequired() || items.HasIgnore() {
		return unsure
	}
	item := all.oneKeeps(d, items)
	least, most := r.GetMinItems(), uint64(1)<<32
	if r.HasMaxItems() {
		most = r.GetMaxItems()
	}
	if item == nil && r == nil {
		return nil
	}
	unique := func(protoreflect.List) bool { return true }
	if r.GetUnique() {
		unique = distinct[d.Kind()]
	}
	return func(v protoreflect.Value) bool {
		l := v.List()
		if n := uint64(l.Len()); n < least || n > most { //nolint:gosec // a length is not negative
			return false
		}
		for i := range l.Len() {
			if item != nil && !item(l.Get(i)) {
				return false
			}
		}
		return unique(l)
	}
}

// distinct tells of a list whether it surely has no value twice.
var distinct = map[protoreflect.Kind]func(protoreflect.List) bool{
	protoreflect.EnumKind:   distinctNumbers,
	protoreflect.StringKind: distinctStrings,
}

func distinctNumbers(l protoreflect.List) bool {
	var seen uint64
	for i := range l.Len() {
		n := l.Get(i).Enum()
		if n < 0 || n >= 64 || seen&(1<<n) != 0 {
			return false
		}
		seen |= 1 << n
	}
	return true
}

func distinctStrings(l protoreflect.List) bool {
	const few = 8
	for i := range l.Len() {
		for j := range i {
			if l.Len() > few || l.Get(i).String() == l.Get(j).String() {
				return false
			}
		}
	}
	return true
}

// mapKeeps gives the check of a map, or nil when nothing is asked of it.
func (all sureForms) mapKeeps(d protoreflect.FieldDescriptor, rules *validate.FieldRules) keeps {
	r := rules.GetMap()
	if rules != nil && (!ruledBy(rules, "map") || r != nil && !onlyHas(r.ProtoReflect(), "min_pairs", "max_pairs", "keys", "values")) {
		return unsure
	}
	if r.GetKeys().GetRequired() || r.GetKeys().HasIgnore() || r.GetValues().GetRequired() || r.GetValues().HasIgnore() {
		return unsure
	}
	key, value := all.oneKeeps(d.MapKey(), r.GetKeys()), all.oneKeeps(d.MapValue(), r.GetValues())
	least, most := r.GetMinPairs(), uint64(1)<<32
	if r.HasMaxPairs() {
		most = r.GetMaxPairs()
	}
	if key == nil && value == nil && r == nil {
		return nil
	}
	return func(v protoreflect.Value) bool {
		m := v.Map()
		if n := uint64(m.Len()); n < least || n > most { //nolint:gosec // a length is not negative
			return false
		}
		ok := true
		m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			ok = (key == nil || key(k.Value())) && (value == nil || value(v))
			return ok
		})
		return ok
	}
}

// pattern is a regular expression of the simplest kind: classes of ASCII
// characters in a row, each a fixed number of times but the last.
type pattern []class

type class struct {
	has         [utf8.RuneSelf]bool
	least, most int // most < 0 = any number
}

// newPattern reads a regular expression; ok is false when it is not of that kind.
func newPattern(expr string) (p pattern, ok bool) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil || re.Op != syntax.OpConcat || len(re.Sub) < 3 ||
		re.Sub[0].Op != syntax.OpBeginText || re.Sub[len(re.Sub)-1].Op != syntax.OpEndText || re.Sub[len(re.Sub)-1].Flags&syntax.WasDollar == 0 {
		return nil, false
	}
	for _, part := range re.Sub[1 : len(re.Sub)-1] {
		c, ok := newClasses(part)
		if !ok {
			return nil, false
		}
		p = append(p, c...)
	}
	for _, c := range p[:len(p)-1] {
		if c.least != c.most {
			return nil, false
		}
	}
	return p, true
}

func newClasses(re *syntax.Regexp) ([]class, bool) {
	c := class{least: 1, most: 1}
	if re.Op == syntax.OpRepeat {
		c.least, c.most = re.Min, re.Max
		re = re.Sub[0]
	}
	switch re.Op {
	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
				if r >= utf8.RuneSelf {
					return nil, false
				}
				c.has[r] = true
			}
		}
		return []class{c}, true
	case syntax.OpLiteral:
		if c.least != 1 || c.most != 1 || re.Flags&syntax.FoldCase != 0 {
			return nil, false
		}
		var out []class
		for _, r := range re.Rune {
			if r >= utf8.RuneSelf {
				return nil, false
			}
			one := class{least: 1, most: 1}
			one.has[r] = true
			out = append(out, one)
		}
		return out, true
	}
	return nil, false
}

func (p pattern) matches(s string) bool {
	for i := range p {
		c := &p[i]
		n := 0
		for n < len(s) && n != c.most && s[n] < utf8.RuneSelf && c.has[s[n]] {
			n++
		}
		if n < c.least {
			return false
		}
		s = s[n:]
	}
	return s == ""
}
