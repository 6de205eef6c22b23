// Package redact knows what may stand in a log: constant messages, and values of
// a closed set of attributes and types. Everything else is replaced by its
// type's name before a handler sees it, so that a personal value that somebody
// passes by mistake is never written, at any level.
package redact

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// keys are the attributes whose text may be logged. None is ever given what a
// caller sent, apart from err: errors of this project name no value, by contract.
var keys = []string{
	slog.TimeKey, slog.LevelKey, slog.MessageKey, slog.SourceKey,
	"action", "address", "admin", "caller", "clause", "cluster", "component", "config", "data", "data_class", "decision",
	"digest", "err", "file", "from", "gateway", "jurisdiction", "kind", "listen", "log", "method", "operation", "outcome", "phase",
	"policy", "reason", "region", "result", "root", "root_before", "stack", "state", "store", "to", "use", "version", "what", "witness",
	"witness_region",
}

// maxText is the longest text of one attribute, in bytes; a stack is given more.
const (
	maxText  = 1 << 10
	maxStack = 16 << 10
)

// Handler passes records on with every attribute that is not known to be
// harmless replaced. Safe for concurrent use if next is.
type Handler struct {
	next slog.Handler
}

var _ slog.Handler = (*Handler)(nil)

// New wraps a handler.
func New(next slog.Handler) *Handler { return &Handler{next} }

// Enabled is next's.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle passes a cleaned record on.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, cut(r.Message, maxText), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(attr(a))
		return true
	})
	return h.next.Handle(ctx, clean)
}

// WithAttrs cleans the attributes at once.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = attr(a)
	}
	return &Handler{h.next.WithAttrs(clean)}
}

// WithGroup opens a group.
func (h *Handler) WithGroup(name string) slog.Handler { return &Handler{h.next.WithGroup(name)} }

func attr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindBool, slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindDuration, slog.KindTime:
		return slog.Attr{Key: a.Key, Value: v}
	case slog.KindGroup:
		group := make([]slog.Attr, 0, len(v.Group()))
		for _, member := range v.Group() {
			group = append(group, attr(member))
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(group...)}
	}
	return slog.Attr{Key: a.Key, Value: slog.StringValue(text(a.Key, v))}
}

// text gives what may be written of a string or of any other value.
func text(key string, v slog.Value) string {
	known := slices.Contains(keys, key)
	if v.Kind() == slog.KindString {
		switch {
		case !known:
			return "[redacted]"
		case key == "stack":
			return cut(v.String(), maxStack)
		}
		return cut(v.String(), maxText)
	}
	switch x := v.Any().(type) {
	case nil:
		return ""
	case error:
		if known {
			return cut(x.Error(), maxText)
		}
	}
	return fmt.Sprintf("[%T]", v.Any())
}

func cut(s string, most int) string {
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// Limit lets a bounded number of log lines through. Not safe for concurrent use.
type Limit struct {
	PerSecond float64
	Burst     float64

	level      float64
	at         time.Time
	suppressed int
}

// Take reports whether a line may be written now and, if so, how many were not since the last.
func (l *Limit) Take(now time.Time) (suppressed int, ok bool) {
	if l.at.IsZero() {
		l.level = l.Burst
	}
	l.level = min(l.Burst, l.level+now.Sub(l.at).Seconds()*l.PerSecond)
	l.at = now
	if l.level < 1 {
		l.suppressed++
		return 0, false
	}
	l.level--
	suppressed, l.suppressed = l.suppressed, 0
	return suppressed, true
}
