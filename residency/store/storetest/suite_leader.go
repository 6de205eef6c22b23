package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// aTerm is a time to lead that no test lives to see the end of.
const aTerm = time.Hour

// lead makes a holder the leader, which must succeed in the epoch that is wanted.
func (f fixture) lead(holder string, ttl time.Duration, want uint64) {
	f.t.Helper()
	epoch, err := f.rows.Lead(f.ctx, holder, ttl)
	must(f.t, err)
	if epoch != want {
		f.t.Fatalf("%s leads in epoch %d, want %d", holder, epoch, want)
	}
}

// wantLed fails the test unless another than the holder leads.
func (f fixture) wantLed(holder string) {
	f.t.Helper()
	epoch, err := f.rows.Lead(f.ctx, holder, aTerm)
	wantErr(f.t, err, store.ErrConflict)
	if epoch != 0 {
		f.t.Fatalf("%s was given epoch %d along with the error", holder, epoch)
	}
}

// passed waits until some time has passed by the store's clock.
func (f fixture) passed(d time.Duration) {
	for end := f.rows.Now().Add(d); !f.rows.Now().After(end); {
		time.Sleep(time.Millisecond)
	}
}

func ofEpoch(n uint64) store.Scope { return store.Scope{Tenant: tenant(1), Epoch: n} }

// wantEpoch fails the test unless transactions of one epoch run and of all others do not.
func (f fixture) wantEpoch(want uint64) {
	f.t.Helper()
	for epoch := range want + 3 {
		ran := 0
		put := f.rows.Update(f.ctx, ofEpoch(epoch), func(tx store.Tx) error {
			ran++
			return errors.Join(tx.Put(store.KindRecord, "of", fmt.Append(nil, epoch)), tx.Append("of", func(uint64) []byte { return fmt.Append(nil, epoch) }))
		})
		look := f.rows.View(f.ctx, ofEpoch(epoch), func(store.Tx) error { ran++; return nil })
		if epoch == 0 || epoch == want {
			must(f.t, put)
			must(f.t, look)
			continue
		}
		wantErr(f.t, put, store.ErrDeposed)
		wantErr(f.t, look, store.ErrDeposed)
		if ran > 0 {
			f.t.Fatalf("in epoch %d fn ran in a transaction of epoch %d", want, epoch)
		}
	}
	f.view(func(tx store.Tx) { f.wantRow(tx, store.KindRecord, "of", fmt.Append(nil, want)) })
	for _, e := range f.entries() {
		if string(e) > fmt.Sprint(want) {
			f.t.Fatalf("in epoch %d an entry of epoch %s was appended", want, e)
		}
	}
}

var leaderTests = map[string]func(fixture){
	"while one leads no other does": func(f fixture) {
		f.lead("one", aTerm, 1)
		f.wantLed("two")
		f.wantLed("One")
		f.wantLed("one\x00")
		f.lead("one", aTerm, 1)
		f.wantEpoch(1)
	},
	"nobody led before the first": func(f fixture) {
		f.lead("one", 0, 0)
		f.wantEpoch(0)
		f.lead("\x00\xff", aTerm, 1)
	},
	"a leader's time runs out by the store's clock": func(f fixture) {
		f.lead("one", 20*time.Millisecond, 1)
		f.passed(20 * time.Millisecond)
		f.lead("two", aTerm, 2)
		f.wantLed("one")
		f.wantEpoch(2)
	},
	"a renewal gives time from then on": func(f fixture) {
		f.lead("one", 20*time.Millisecond, 1)
		f.lead("one", aTerm, 1)
		f.passed(20 * time.Millisecond)
		f.wantLed("two")
		f.lead("one", 20*time.Millisecond, 1)
		f.passed(20 * time.Millisecond)
		f.lead("two", aTerm, 2)
	},
	"a holder whom nobody has followed keeps its epoch": func(f fixture) {
		f.lead("one", time.Millisecond, 1)
		f.passed(time.Millisecond)
		f.wantEpoch(1)
		f.lead("one", aTerm, 1)
		f.wantLed("two")
	},
	"a holder gives the leadership up at once": func(f fixture) {
		f.lead("one", aTerm, 1)
		f.lead("one", 0, 1)
		f.wantEpoch(1) // its own transactions are not ended by it
		f.lead("two", aTerm, 2)
		f.lead("two", 0, 2)
		f.lead("two", aTerm, 2)
		if _, err := f.rows.Lead(f.ctx, "one", 0); !errors.Is(err, store.ErrConflict) {
			f.t.Fatalf("who does not lead gives it up: %v", err)
		}
		f.wantLed("one")
		f.lead("two", 0, 2)
		f.lead("one", 0, 2) // changes nothing
		f.lead("two", aTerm, 2)
	},
	"a leader has a name, and time": func(f fixture) {
		for _, holder := range []string{"", strings.Repeat("x", 129)} {
			if _, err := f.rows.Lead(f.ctx, holder, aTerm); err == nil {
				f.t.Errorf("a holder of %d bytes was taken", len(holder))
			}
		}
		if _, err := f.rows.Lead(f.ctx, "one", -1); err == nil {
			f.t.Error("a negative time was taken")
		}
		f.wantEpoch(0)
		f.lead(strings.Repeat("x", 128), aTerm, 1)
	},
	"a new leader waits for an update of the old": func(f fixture) { f.wantFollowWaits(f.started(f.rows.Update, f.led())) },
	"a new leader waits for a view of the old":    func(f fixture) { f.wantFollowWaits(f.started(f.rows.View, f.led())) },
	"a renewal waits for no transaction": func(f fixture) {
		release := f.started(f.rows.Update, f.led())
		f.lead("one", aTerm, 1)
		release()
	},
	"who waits for a leader to end gives up": func(f fixture) {
		release := f.started(f.rows.Update, f.led())
		ctx, cancel := context.WithTimeout(f.ctx, 20*time.Millisecond)
		defer cancel()
		_, err := f.rows.Lead(ctx, "two", aTerm)
		wantErr(f.t, err, store.ErrUnavailable)
		release()
	},
	"nothing of an old epoch comes after a new one": func(f fixture) {
		const holders, each = 4, 5
		var wg sync.WaitGroup
		for h := range holders {
			wg.Go(func() {
				for led := 0; led < each && !f.t.Failed(); {
					if f.leadAndWrite(fmt.Sprint("holder ", h)) {
						led++
					}
				}
			})
		}
		wg.Wait()
		f.passed(time.Millisecond)
		if epoch, err := f.rows.Lead(f.ctx, "last", aTerm); err != nil || epoch < holders {
			f.t.Fatalf("after %d holders the epoch is %d: %v", holders, epoch, err)
		}
	},
}

// led makes one the leader, whose time has run out, and gives the scope of its epoch.
func (f fixture) led() store.Scope {
	f.t.Helper()
	f.lead("one", 0, 0)
	f.lead("one", time.Millisecond, 1)
	f.passed(time.Millisecond)
	return ofEpoch(1)
}

// wantFollowWaits fails the test unless another follows the leader once its transaction has ended.
func (f fixture) wantFollowWaits(release func()) {
	f.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		epoch, err := f.rows.Lead(f.ctx, "two", aTerm)
		if err != nil || epoch != 2 {
			f.t.Errorf("the new leader has epoch %d: %v", epoch, err)
		}
	}()
	select {
	case <-done:
		f.t.Error("the new leader did not wait for a transaction of the old epoch")
	case <-time.After(aMoment):
	}
	release()
	<-done
	f.wantEpoch(2)
}

// leadAndWrite writes a row in a holder's epoch, unless another leads, and fails the test when it
// finds there what a later epoch, or in the same epoch another holder, wrote.
func (f fixture) leadAndWrite(holder string) (led bool) {
	epoch, err := f.rows.Lead(f.ctx, holder, time.Millisecond)
	if errors.Is(err, store.ErrConflict) {
		time.Sleep(time.Millisecond)
		return false
	}
	if err != nil {
		f.t.Error(err)
		return false
	}
	mine := fmt.Sprintf("%08d %s", epoch, holder)
	err = f.rows.Update(f.ctx, ofEpoch(epoch), func(tx store.Tx) error {
		there, err := tx.Get(store.KindRecord, "newest")
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if string(there) > mine || len(there) > 8 && string(there[:8]) == mine[:8] && string(there) != mine {
			f.t.Errorf("%q is written after %q", mine, there)
		}
		time.Sleep(2 * time.Millisecond) // its time runs out meanwhile
		return tx.Put(store.KindRecord, "newest", []byte(mine))
	})
	if err != nil && !errors.Is(err, store.ErrDeposed) {
		f.t.Error(err)
	}
	return true
}
