package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size: a number of bytes, or one with the unit KiB, MiB or GiB.
type Bytes int64

// The units.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
)

var units = []struct {
	name string
	size Bytes
}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}}

// UnmarshalText reads a size.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.Trim(strings.TrimSpace(string(text)), `"'`)
	unit := Bytes(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			s, unit = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > int64(1<<62)/int64(unit) {
		return fmt.Errorf("want a number of bytes, or one followed by KiB, MiB or GiB")
	}
	*b = Bytes(n) * unit
	return nil
}

// MarshalText writes the size in the largest unit that divides it.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// String gives the size in the largest unit that divides it.
func (b Bytes) String() string {
	for _, u := range units {
		if b >= u.size && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// WithDefaults gives the limits with every zero replaced.
func (l Limits) WithDefaults() Limits {
	for _, b := range l.bounds() {
		b.fill()
	}
	return l
}

// bound is one limit's place, default and range.
type bound interface {
	fill()
	check() (field, problem string)
}

type bounded[T int | Bytes | time.Duration] struct {
	field               string
	value               *T
	byDefault, min, max T
}

func (b bounded[T]) fill() {
	if *b.value == 0 {
		*b.value = b.byDefault
	}
}

func (b bounded[T]) check() (field, problem string) {
	if *b.value < b.min || *b.value > b.max {
		return b.field, fmt.Sprintf("want %v to %v", b.min, b.max)
	}
	return b.field, ""
}

// bounds lists the limits; the values point into l, which must be addressable
// by the caller.
func (l *Limits) bounds() []bound {
	return []bound{
		bounded[int]{"connections", &l.Connections, 1024, 1, 65536},
		bounded[int]{"connections_per_caller", &l.ConnectionsPerCaller, 256, 1, 65536},
		bounded[int]{"streams_per_connection", &l.StreamsPerConnection, 256, 1, 65536},
		bounded[int]{"in_flight", &l.InFlight, 4096, 1, 1 << 20},
		bounded[int]{"in_flight_per_caller", &l.InFlightPerCaller, 1024, 1, 1 << 20},
		bounded[int]{"drive_streams", &l.DriveStreams, 256, 1, 65536},
		bounded[int]{"drive_streams_per_caller", &l.DriveStreamsPerCaller, 128, 1, 65536},
		bounded[Bytes]{"header_bytes", &l.HeaderBytes, 16 * KiB, 4 * KiB, MiB},
		bounded[Bytes]{"message_bytes", &l.MessageBytes, 512 * KiB, 512 * KiB, 4 * MiB},
		bounded[time.Duration]{"handshake_timeout", &l.HandshakeTimeout, 10 * time.Second, time.Millisecond, time.Minute},
		bounded[time.Duration]{"deadline", &l.Deadline, 10 * time.Second, 10 * time.Millisecond, 10 * time.Minute},
		bounded[time.Duration]{"max_deadline", &l.MaxDeadline, time.Minute, 10 * time.Millisecond, 10 * time.Minute},
		bounded[time.Duration]{"stream_lifetime", &l.StreamLifetime, time.Hour, time.Second, 24 * time.Hour},
		bounded[time.Duration]{"stream_idle", &l.StreamIdle, time.Minute, 10 * time.Millisecond, time.Hour},
		bounded[time.Duration]{"keepalive_min", &l.KeepaliveMin, 10 * time.Second, time.Second, 5 * time.Minute},
		bounded[time.Duration]{"idle", &l.Idle, 15 * time.Minute, time.Second, 24 * time.Hour},
		bounded[time.Duration]{"drain", &l.Drain, 20 * time.Second, 10 * time.Millisecond, 10 * time.Minute},
		bounded[time.Duration]{"lease", &l.Lease, time.Second, 10 * time.Millisecond, time.Second},
		bounded[time.Duration]{"decide", &l.Decide, 1500 * time.Millisecond, 10 * time.Millisecond, 1500 * time.Millisecond},
		bounded[int]{"denials_per_second", &l.DenialsPerSecond, 1000, 1, 1 << 20},
		bounded[Bytes]{"memory", &l.Memory, 2 * GiB, 256 * MiB, 1 << 42},
	}
}
