package seal

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// inMemory counts the entries that a cache holds, whatever their age.
func inMemory(c *cache) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}

// TestIdleKeysLeaveMemory: keys that nobody asks for again do not stay.
func TestIdleKeysLeaveMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(time.Now, MaxAge, 1000)
		for i := range 100 {
			name := fmt.Sprint(i)
			if _, err := c.load(context.Background(), name, false, func() (any, error) { return i, nil }); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(MaxAge - 10*time.Second)
		if n := inMemory(c); n < 98 {
			t.Errorf("%d of 100 keys are in memory before their time is over", n)
		}
		time.Sleep(10*time.Second + sweepGap)
		if n := inMemory(c); n != 0 {
			t.Errorf("%d keys are in memory a second after their time is over", n)
		}
		synctest.Wait()
		if c.sweeper != nil {
			t.Error("an empty cache keeps a timer")
		}
	})
}

// TestPanickingLoad: a load that panics blocks nobody and leaves nothing.
func TestPanickingLoad(t *testing.T) {
	c := newCache(time.Now, MaxAge, 10)
	func() {
		defer func() { _ = recover() }()
		_, _ = c.load(context.Background(), "x", false, func() (any, error) { panic("load") })
	}()
	if len(c.flights) != 0 || len(c.entries) != 0 {
		t.Error("something is left")
	}
	if v, err := c.load(context.Background(), "x", false, func() (any, error) { return 1, nil }); v != 1 || err != nil {
		t.Errorf("got %v, %v", v, err)
	}
}

// TestDeriveIsHKDF holds derive against the standard library's HKDF-Expand.
func TestDeriveIsHKDF(t *testing.T) {
	for n := range 300 {
		key, info := make([]byte, KeySize), make([]byte, n)
		rand.Read(key)
		rand.Read(info)
		want, err := hkdf.Expand(sha256.New, key, string(info), KeySize)
		if err != nil {
			t.Fatal(err)
		}
		m := newMAC(key)
		clear(key)
		for range 2 { // anew, and with reused state
			var got [KeySize]byte
			if m.derive(&got, string(info[:n/2]), string(info[n/2:])); string(got[:]) != string(want) {
				t.Fatalf("info of %d bytes: got %x, want %x", n, got, want)
			}
		}
	}
}
