package rpc

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/redact"
)

// fill puts the canary into every string and byte field of a message, however deep.
func fill(m protoreflect.Message, depth int) {
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		switch {
		case f.IsMap():
			if f.MapKey().Kind() == protoreflect.StringKind && f.MapValue().Kind() == protoreflect.StringKind {
				m.Mutable(f).Map().Set(protoreflect.ValueOfString(canary).MapKey(), protoreflect.ValueOfString(canary))
			}
		case f.IsList() && f.Message() != nil && depth > 0:
			fill(m.Mutable(f).List().AppendMutable().Message(), depth-1)
		case f.IsList() && f.Kind() == protoreflect.StringKind:
			m.Mutable(f).List().Append(protoreflect.ValueOfString(canary))
		case f.IsList():
		case f.Message() != nil && depth > 0:
			fill(m.Mutable(f).Message(), depth-1)
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString(canary))
		case f.Kind() == protoreflect.BytesKind:
			m.Set(f, protoreflect.ValueOfBytes([]byte(canary)))
		}
	}
}

func hasPersonal(d protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
	if seen[d.FullName()] {
		return false
	}
	seen[d.FullName()] = true
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if o, ok := f.Options().(*descriptorpb.FieldOptions); ok && o.GetDebugRedact() {
			return true
		}
		if f.Message() != nil && hasPersonal(f.Message(), seen) {
			return true
		}
	}
	return false
}

// No message with personal fields can be printed by the logger: not as an attribute of any
// name, in a group, a slice, a map, a struct or behind a pointer, at any level.
func TestNoPersonalMessageCanBeLogged(t *testing.T) {
	logged := 0
	eachMessage(func(d protoreflect.MessageDescriptor) {
		if !hasPersonal(d, map[protoreflect.FullName]bool{}) {
			return
		}
		typ, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
		if err != nil {
			t.Fatal(err)
		}
		m := typ.New()
		fill(m, 5)
		message := m.Interface()
		if b, err := proto.Marshal(message); err != nil || !bytes.Contains(b, []byte(canary)) {
			t.Fatalf("%s holds no canary: %v", d.FullName(), err)
		}
		var out bytes.Buffer
		for _, h := range []slog.Handler{
			slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}),
			slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}),
		} {
			log := slog.New(redact.New(h))
			for _, key := range []string{"request", "method", "reason", "state", "msg"} {
				log.Debug("a", slog.Any(key, message))
				log.Info("a", key, message)
				log.With(key, message).Warn("a")
				log.WithGroup("g").Error("a", slog.Group("h", slog.Any(key, message)))
				log.Info("a", key, []proto.Message{message}, key, map[string]any{key: message}, key, struct{ M any }{message}, key, &message)
				logged += 8
			}
			for _, key := range []string{"tenant", "subject", "name", "request", "value"} {
				log.Info("a", key, canary)
				log.Info("a", key, fmt.Sprint(message))
				log.Info("a", key, errors.New(canary))
				log.Info("a", key, slog.StringValue(canary))
				logged += 4
			}
		}
		if strings.Contains(out.String(), canary) {
			t.Errorf("%s was printed:\n%s", d.FullName(), out.String())
		}
	})
	var out bytes.Buffer
	slog.New(redact.New(slog.NewTextHandler(&out, nil))).Info("a", "record", gateway.Record{FullName: canary}, "err", (*lateCanary)(nil))
	if strings.Contains(out.String(), canary) {
		t.Errorf("a gateway record was printed: %s", out.String())
	}
	t.Logf("%d attempts to log a personal message", logged)
}

// lateCanary is a value whose text only shows when it is resolved.
type lateCanary struct{}

func (*lateCanary) LogValue() slog.Value { return slog.AnyValue(struct{ S string }{canary}) }
