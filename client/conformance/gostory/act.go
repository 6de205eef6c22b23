package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/audit/proof"
)

// act does a step's action. Its error says that it could not be tried; what the action itself came to is in the outcome.
func (t *teller) act(ctx context.Context, s *step) (outcome, error) {
	switch {
	case s.Control != nil:
		return outcome{gave: map[string]any{}}, t.control(ctx, s.Control)
	case s.Verify != nil:
		return t.verify(s.Verify)
	}
	c, err := t.client(ctx, s.As)
	if err != nil {
		return outcome{}, err
	}
	switch {
	case s.Call != nil:
		return t.call(ctx, c, s.Call)
	case s.List != nil:
		return t.list(ctx, c, s.List)
	case s.Upload != nil:
		return t.upload(ctx, c, s.Upload)
	case s.Download != nil:
		return t.download(ctx, c, s.Download)
	}
	return outcome{}, errors.New("it has no action that this program knows")
}

// client gives the client of a name, made at its first use.
func (t *teller) client(ctx context.Context, name string) (*client.Client, error) {
	if c := t.clients[name]; c != nil {
		return c, nil
	}
	spec, ok := t.Clients[name]
	if !ok {
		return nil, fmt.Errorf("there is no client %q", name)
	}
	var texts [5]string
	for i, text := range []string{spec.Address, spec.Certificate, spec.Key, spec.CA, spec.ServerName} {
		var err error
		if texts[i], err = t.text(text); err != nil {
			return nil, err
		}
	}
	c, err := client.Dial(ctx, client.Options{
		Address: texts[0], Identity: client.Identity{Certificate: texts[1], Key: texts[2], CA: texts[3]},
		ServerName: texts[4], MaxAttempts: spec.MaxAttempts,
	})
	if err == nil {
		t.clients[name] = c
	}
	return c, err
}

// told are the call options that ask for what the client tells of a call.
func (o *outcome) told() []grpc.CallOption {
	return []grpc.CallOption{client.DecisionID(&o.decision), client.Endpoint(&o.endpoint)}
}

// request makes the message that a method takes.
func (t *teller) request(method string, fields map[string]any) (protoreflect.MethodDescriptor, proto.Message, error) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(method, "/", ".")))
	if err != nil {
		return nil, nil, err
	}
	m, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, nil, fmt.Errorf("%s is no method", method)
	}
	message, err := newMessage(m.Input())
	if err != nil {
		return nil, nil, err
	}
	return m, message, t.read(fields, message)
}

func newMessage(d protoreflect.MessageDescriptor) (proto.Message, error) {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		return nil, err
	}
	return kind.New().Interface(), nil
}

// read fills a message from JSON, names filled in.
func (t *teller) read(fields map[string]any, to proto.Message) error {
	filled, err := t.fill(fields)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(filled)
	if err != nil {
		return err
	}
	return protojson.Unmarshal(raw, to)
}

// written gives a message in protobuf's JSON mapping.
func written(m proto.Message) (out any, err error) {
	raw, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	return out, json.Unmarshal(raw, &out)
}

func (t *teller) call(ctx context.Context, c *client.Client, a *callAction) (o outcome, err error) {
	method, req, err := t.request(a.Method, a.Request)
	if err != nil {
		return o, err
	}
	answer, err := newMessage(method.Output())
	if err != nil {
		return o, err
	}
	if a.TimeoutMS > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(a.TimeoutMS)*time.Millisecond)
		defer cancel()
	}
	if o.err = c.Conn().Invoke(ctx, "/"+a.Method, req, answer, o.told()...); o.err == nil {
		o.gave, err = written(answer)
	}
	return o, err
}

// list goes through the pages with the client's own iterators.
func (t *teller) list(ctx context.Context, c *client.Client, a *callAction) (outcome, error) {
	_, req, err := t.request(a.Method, a.Request)
	if err != nil {
		return outcome{}, err
	}
	switch req := req.(type) {
	case *residencyv1.ListRecordsRequest:
		return collect(c.AllRecords(ctx, req))
	case *residencyv1.FindRecordsRequest:
		return collect(c.AllFound(ctx, req))
	}
	return outcome{}, fmt.Errorf("this program knows no iterator for %s", a.Method)
}

func collect[M proto.Message](all iter.Seq2[M, error]) (outcome, error) {
	var items []any
	for m, err := range all {
		if err != nil {
			return outcome{err: err}, nil
		}
		item, err := written(m)
		if err != nil {
			return outcome{}, err
		}
		items = append(items, item)
	}
	return outcome{gave: map[string]any{"count": len(items), "items": items}}, nil
}

// control asks the harness to do something.
func (t *teller) control(ctx context.Context, what map[string]any) error {
	url, err := t.text("${control}")
	if err != nil {
		return err
	}
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the harness answered %s", answer.Status)
	}
	return nil
}

// notVerified says that a receipt proves nothing.
type notVerified struct{ error }

func (t *teller) verify(a *verifyAction) (o outcome, err error) {
	text, err := t.text(a.Receipt)
	if err != nil {
		return o, err
	}
	receipt, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return o, err
	}
	keyText, err := t.text(a.Key)
	if err != nil {
		return o, err
	}
	key, err := proof.ParseKey(keyText)
	if err != nil {
		return o, err
	}
	if a.FlipBit != nil {
		receipt[*a.FlipBit/8%len(receipt)] ^= 1 << (*a.FlipBit % 8)
	}
	if proved, why := key.VerifyReceipts(receipt); why != nil {
		o.err = &notVerified{why}
	} else {
		o.gave = map[string]any{"verified": true, "entry": proved[0].Entry}
	}
	return o, nil
}

// codeName is a status code's name as the gRPC specification has it.
func codeName(c codes.Code) string {
	var names [codes.Unauthenticated + 1]string
	for name, code := range map[string]codes.Code{
		"CANCELLED": codes.Canceled, "UNKNOWN": codes.Unknown, "INVALID_ARGUMENT": codes.InvalidArgument, "DEADLINE_EXCEEDED": codes.DeadlineExceeded,
		"NOT_FOUND": codes.NotFound, "ALREADY_EXISTS": codes.AlreadyExists, "PERMISSION_DENIED": codes.PermissionDenied, "RESOURCE_EXHAUSTED": codes.ResourceExhausted,
		"FAILED_PRECONDITION": codes.FailedPrecondition, "ABORTED": codes.Aborted, "OUT_OF_RANGE": codes.OutOfRange, "UNIMPLEMENTED": codes.Unimplemented,
		"INTERNAL": codes.Internal, "UNAVAILABLE": codes.Unavailable, "DATA_LOSS": codes.DataLoss, "UNAUTHENTICATED": codes.Unauthenticated,
	} {
		names[code] = name
	}
	if int(c) < len(names) {
		return names[c]
	}
	return c.String()
}
