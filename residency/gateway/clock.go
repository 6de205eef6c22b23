package gateway

import (
	"time"

	"golang.org/x/sys/unix"
)

// Boottime is the time since the machine started, suspensions included: a lease
// must not outlive its second because the machine slept.
func Boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("gateway: CLOCK_BOOTTIME: " + err.Error()) // Linux has it since 2.6.39
	}
	return time.Duration(ts.Nano())
}
