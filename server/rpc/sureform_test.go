package rpc

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// formsOf compiles the rules of some messages.
func formsOf(t testing.TB, messages map[string]proto.Message) *forms {
	t.Helper()
	var of []protoreflect.MessageDescriptor
	for _, m := range messages {
		of = append(of, m.ProtoReflect().Descriptor())
	}
	f, err := newForms(of)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// What is wrong with a request is told in words: no pattern, and no number of an enumeration.
func TestFormsSpeakPlainly(t *testing.T) {
	valid := validRequests()
	f := formsOf(t, valid)
	told := map[string]bool{}
	for name, m := range valid {
		for _, value := range []string{"", "not\x00right"} {
			wrong := proto.Clone(m)
			spoil(wrong.ProtoReflect(), value)
			err := f.check(wrong)
			if err == nil { // it asks for nothing
				continue
			}
			for _, v := range err.Violations {
				told[v.Description] = true
				if strings.Contains(v.Description, "regex") || strings.Contains(v.Description, "in list [") {
					t.Errorf("%s: %s: %s", name, v.Field, v.Description)
				}
			}
		}
	}
	for _, words := range plain {
		if !told[words] {
			t.Errorf("%q is never told", words)
		}
	}
}

// spoil gives a message's texts, and those of all that is in it, the same value, takes away
// its enumerations' values and empties its lists of messages.
func spoil(m protoreflect.Message, value string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		switch f := fields.Get(i); {
		case f.IsMap():
		case f.IsList() && f.Kind() == protoreflect.StringKind:
			m.Mutable(f).List().Append(protoreflect.ValueOfString(value))
		case f.IsList() && value == "":
			m.Clear(f)
		case f.IsList():
		case f.Kind() == protoreflect.StringKind && (f.ContainingOneof() == nil || m.Has(f)):
			m.Set(f, protoreflect.ValueOfString(value))
		case f.Kind() == protoreflect.EnumKind:
			m.Clear(f)
		case f.Kind() == protoreflect.MessageKind && m.Has(f):
			spoil(m.Mutable(f).Message(), value)
		}
	}
}

func (f *forms) surely(m proto.Message) bool {
	r := m.ProtoReflect()
	return f.sure[r.Descriptor().FullName()].holds(r)
}

// What is surely valid is valid by the validator, for every request and for
// random changes to it; and of the valid ones most are surely so.
func TestSureFormsAgainstTheValidator(t *testing.T) {
	valid := validRequests()
	f := formsOf(t, valid)
	for name, m := range valid {
		if err := f.first.Validate(m); err == nil && !f.surely(m) {
			switch {
			case strings.HasSuffix(name, "Record"), strings.HasSuffix(name, "/CheckTransfer"), strings.HasSuffix(name, "/GrantConsent"):
				t.Errorf("%s: a valid request goes to the validator", name)
			default:
				t.Logf("%s: left to the validator", name)
			}
		}
	}
	random := rand.New(rand.NewPCG(20261123, 5))
	sure, kept, broken := 0, 0, 0
	for range 300 {
		for name, m := range valid {
			changed := proto.Clone(m)
			for range 1 + random.IntN(3) {
				mutateField(random, changed.ProtoReflect())
			}
			err := f.first.Validate(changed)
			if err == nil {
				kept++
			} else {
				broken++
			}
			if !f.surely(changed) {
				continue
			}
			if sure++; err != nil {
				t.Fatalf("%s: surely valid, but the validator says %v of %v", name, err, changed)
			}
		}
	}
	t.Logf("%d changed requests are valid, %d surely; %d are not", kept, sure, broken)
	if sure < kept/2 || broken < kept/10 {
		t.Error("the changes try too little, or too little is sure")
	}
}

// spoiled gives strings at and beyond the bounds of the rules.
func spoiled(random *rand.Rand) string {
	pieces := []string{"a", "Z", "9", ".", "_", "-", "é", " ", "\n", "CH", "us", "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", "sha256:" + strings.Repeat("0f", 32), "de-CH", "4096"}
	s := pieces[random.IntN(len(pieces))]
	switch random.IntN(5) {
	case 0:
		return ""
	case 1:
		return strings.Repeat(s, []int{2, 31, 63, 64, 65, 256, 257, 4097}[random.IntN(8)])
	case 2:
		return s + pieces[random.IntN(len(pieces))]
	}
	return s
}

func TestPatterns(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for expr, simple := range map[string]bool{
		"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$":       true,
		"^[A-Z]{2}$":                              true,
		"^sha256:[0-9a-f]{64}$":                   true,
		"^x[a-z]{3,}$":                            true,
		"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,8}$": false,
		"^[a-z]{1,2}[a-z]{1,2}$":                  false,
		"[a-z]{1,2}":                              false,
		"^[a-zé]{1,2}$":                           false,
		"^(?i)[a-z]k$":                            false,
		"^.{3}$":                                  false,
		"^a|b$":                                   false,
		"^[^a]{1,3}$":                             false,
		"(?m)^[a-z]{2}$":                          false,
		"^[a-z]+$":                                false,
	} {
		p, ok := newPattern(expr)
		if ok != simple {
			t.Errorf("%s: simple = %t", expr, ok)
		}
		if !ok {
			continue
		}
		re := regexp.MustCompile(expr)
		for range 20_000 {
			if s := spoiled(random); p.matches(s) != re.MatchString(s) {
				t.Fatalf("%s matches %q: %t", expr, s, p.matches(s))
			}
		}
		for _, s := range []string{"xabc", "xabcdef", "CH", "A", "a" + strings.Repeat("-", 63), "a" + strings.Repeat("-", 64), "CH\n"} {
			if p.matches(s) != re.MatchString(s) {
				t.Errorf("%s matches %q: %t", expr, s, p.matches(s))
			}
		}
	}
}

func BenchmarkSureForms(b *testing.B) {
	valid := validRequests()
	f := formsOf(b, valid)
	for name, m := range valid {
		if !strings.HasSuffix(name, "Record") && !strings.HasSuffix(name, "/CheckTransfer") && !strings.HasSuffix(name, "/GrantConsent") {
			continue
		}
		short := name[strings.LastIndexByte(name, '/')+1:]
		b.Run(short, func(b *testing.B) {
			for b.Loop() {
				if f.check(m) != nil {
					b.Fatal("refused")
				}
			}
		})
		b.Run(short+"ByTheValidator", func(b *testing.B) {
			for b.Loop() {
				if f.first.Validate(m) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}
