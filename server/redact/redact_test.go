package redact

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

const secret = "Geheimnis"

type stringer struct{}

func (stringer) String() string { return secret }

func TestHandler(t *testing.T) {
	for _, tt := range []struct {
		name string
		attr slog.Attr
		want string
	}{
		{"a known key", slog.String("reason", "NOT_FOUND"), "reason=NOT_FOUND"},
		{"a check's phase", slog.String("phase", "tenants"), "phase=tenants"},
		{"an audit log", slog.String("log", "example.org/ch/ch-1"), "log=example.org/ch/ch-1"},
		{"a log's root", slog.String("root", "AAAA"), "root=AAAA"},
		{"a log's witness", slog.String("witness", "example.com/w1"), "witness=example.com/w1"},
		{"an unknown key", slog.String("tenant", secret), "tenant=[redacted]"},
		{"a number", slog.Int("anything", 7), "anything=7"},
		{"a duration", slog.Duration("took", time.Second), "took=1s"},
		{"an error", slog.Any("err", errors.New("disk full")), `err="disk full"`},
		{"an error elsewhere", slog.Any("cause", errors.New(secret)), "cause=[*errors.errorString]"},
		{"a stringer", slog.Any("reason", stringer{}), "reason=[redact.stringer]"},
		{"a group", slog.Group("g", slog.String("reason", "ok"), slog.String("x", secret)), "g.reason=ok g.x=[redacted]"},
		{"bytes", slog.Any("reason", []byte(secret)), "reason=[[]uint8]"},
		{"long text", slog.String("reason", strings.Repeat("x", 5000)), strings.Repeat("x", maxText) + "…"},
		{"nil", slog.Any("reason", nil), "reason="},
	} {
		var out bytes.Buffer
		log := slog.New(New(slog.NewTextHandler(&out, nil)))
		log.LogAttrs(t.Context(), slog.LevelInfo, "m", tt.attr)
		log.With(tt.attr).Info("m")
		if got := out.String(); strings.Count(got, tt.want) != 2 || strings.Contains(got, secret) {
			t.Errorf("%s: got %s", tt.name, got)
		}
	}
}

func TestLimit(t *testing.T) {
	l := Limit{PerSecond: 10, Burst: 3}
	now := time.Unix(1_800_000_000, 0)
	written := 0
	for range 10 {
		if _, ok := l.Take(now); ok {
			written++
		}
	}
	if written != 3 {
		t.Errorf("a burst of %d, want 3", written)
	}
	suppressed, ok := l.Take(now.Add(100 * time.Millisecond))
	if !ok || suppressed != 7 {
		t.Errorf("a tenth of a second later: %v, %d suppressed, want 7", ok, suppressed)
	}
	if _, ok := l.Take(now.Add(150 * time.Millisecond)); ok {
		t.Error("half a line was enough")
	}
}
