package rpc

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/forward"
	"github.com/domicile-project/domicile/server/redact"
)

// callLog writes one line for each denied access, each change of state, and each
// failure of ours; nothing that a caller sent is in it. Lines are limited for each of
// those, so that a caller can neither fill a disk with refusals nor drown what
// else happens; what was left out is counted in the next line.
type callLog struct {
	*slog.Logger
	mu     sync.Mutex
	limits map[string]*redact.Limit // by message
}

// The messages.
const (
	textChanged   = "state changed"
	textDenied    = "access denied"
	textFailed    = "call failed"
	textNotServed = "call not served"
)

func newCallLog(log *slog.Logger) *callLog {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &callLog{Logger: log, limits: map[string]*redact.Limit{}}
	for _, text := range []string{textChanged, textDenied, textFailed, textNotServed} {
		l.limits[text] = &redact.Limit{PerSecond: 200, Burst: 1000}
	}
	return l
}

// outcome writes what there is to say about a call that ended.
func (l *callLog) outcome(m *method, call *gateway.Call, err error) {
	if call.Elsewhere != "" && (err == nil || errors.As(err, new(*forward.Refused))) {
		return // its home has it in its log
	}
	if err == nil {
		if m.changes {
			l.write(slog.LevelInfo, textChanged, m, call, residency.OK, nil)
		}
		return
	}
	var e *residency.Error
	if !errors.As(err, &e) {
		if _, ok := contextCode(err); !ok {
			l.write(slog.LevelError, textFailed, m, call, residency.Internal, err)
		}
		return
	}
	switch code := statusOf(err).Code(); code {
	case codes.PermissionDenied, codes.Unauthenticated:
		l.write(slog.LevelInfo, textDenied, m, call, e.Kind, nil)
	case codes.Internal, codes.DataLoss:
		l.write(slog.LevelError, textFailed, m, call, e.Kind, err)
	case codes.Unavailable, codes.ResourceExhausted:
		l.write(slog.LevelWarn, textNotServed, m, call, e.Kind, err)
	}
}

func (l *callLog) write(level slog.Level, text string, m *method, call *gateway.Call, kind residency.Kind, err error) {
	if !l.Enabled(context.Background(), level) {
		return
	}
	l.mu.Lock()
	suppressed, ok := l.limits[text].Take(time.Now())
	l.mu.Unlock()
	if !ok {
		return
	}
	attrs := append(make([]slog.Attr, 0, 12), slog.String("method", m.full), slog.String("caller", call.Caller.ID))
	if kind != residency.OK {
		attrs = append(attrs, slog.String("reason", kind.String()))
	}
	if d := call.Decision; d.ID != "" {
		attrs = append(attrs, slog.String("decision", d.ID), slog.String("clause", d.Clause),
			slog.String("data_class", d.DataClass.String()), slog.String("from", d.From.String()), slog.String("to", d.To.String()))
	}
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	if suppressed > 0 {
		attrs = append(attrs, slog.Int("suppressed", suppressed))
	}
	l.LogAttrs(context.Background(), level, text, attrs...)
}
