package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store/storetest"
)

// replaced puts new lines of a configuration in place of old ones, each of which must be there once.
func replaced(t testing.TB, text string, oldNew ...string) string {
	t.Helper()
	for i := 0; i < len(oldNew); i += 2 {
		if strings.Count(text, oldNew[i]+"\n") != 1 {
			t.Fatalf("no single %q in\n%s", oldNew[i], text)
		}
		text = strings.Replace(text, oldNew[i]+"\n", oldNew[i+1]+"\n", 1)
	}
	return text
}

// onPatroni starts a gateway whose Swiss region, with the directory, is in a database and a bucket.
func onPatroni(t testing.TB, p *patroni) *daemon {
	t.Helper()
	p.exec(t, "create role domicile login", "create database domicile owner domicile", "create database keys owner domicile")
	data := t.TempDir()
	text := replaced(t, printed(t, data),
		"rows: pebble:"+data+"/ch/rows", fmt.Sprintf("rows: %q", p.url("domicile", "ch")),
		"blobs: file:"+data+"/ch/blobs", fmt.Sprintf("blobs: %q", bucketOf(t, storetest.StartS3(t))),
		"    keys: file:"+data+"/keys/ch", fmt.Sprintf("    keys: file:%s/keys/ch\n    key_store: %q", data, p.url("keys", "keys")),
		"directory: pebble:"+data+"/directory", fmt.Sprintf("directory: %q", p.url("domicile", "directory")),
	)
	d, err := migrated(t, data, text, layout{keys: filepath.Join(data, "keys")})
	if err == nil {
		err = d.launch()
	}
	if err != nil {
		t.Fatal(err)
	}
	d.stopWith(t)
	return d
}

// The primary and its Patroni are killed under load, and a standby is promoted:
// nothing that was acknowledged is lost, no read from abroad is allowed against a withdrawal that
// was answered, meanwhile calls are UNAVAILABLE and never answered wrongly, and the
// gateway goes on with the new primary by itself. The old one comes back as a standby.
//
// Every third time the Patroni alone is killed, so that two servers take writes, of
// which the old one has lost its synchronous standby: nothing that it does may be acknowledged.
func TestFailover(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := startPatroni(t)
	d := onPatroni(t, p)
	register(t, d.dial(t, "admin-ch"), failoverTenant)
	l := startLoad(t, d)
	defer l.end()
	back := make(map[string][]time.Duration)
	for cycle := range count(1, 10) {
		time.Sleep(2 * time.Second) // of load
		l.after(t, wrote, time.Now())
		if cycle%3 == 2 {
			p.leaveBehind(t, l)
		} else {
			p.failOver(t, l, back)
		}
		if t.Failed() {
			t.Fatalf("cycle %d; the gateway wrote:\n%s", cycle, d.output.String())
		}
	}
	l.end()
	l.verify(t, d)
	for what, times := range back {
		slices.Sort(times)
		t.Logf("%s, after the promotion: %v to %v, median %v", what, round(times[0]), round(times[len(times)-1]), round(times[len(times)/2]))
	}
}

// bare is what a program that only commits, and knows where, is told.
const bare = "a bare commit is durable"

// failOver kills the primary with its Patroni and adds how long after the
// promotion callers were answered again.
func (p *patroni) failOver(t testing.TB, l *failoverLoad, back map[string][]time.Duration) {
	t.Helper()
	old, killed := p.leader(t), time.Now()
	p.murder(old)
	next, promoted := p.awaitPromotion(t, old)
	possible := next.commits(t)
	back[bare] = append(back[bare], possible.Sub(promoted))
	times := []string{fmt.Sprintf("%s after %v", bare, round(possible.Sub(promoted)))}
	for _, what := range []string{wrote, readHome, answeredAbroad} {
		first := l.after(t, what, promoted)
		back[what] = append(back[what], first.Sub(promoted))
		times = append(times, fmt.Sprintf("%s after %v (away for %v)", what, round(first.Sub(promoted)), round(first.Sub(l.last(what, promoted)))))
	}
	p.comeBack(t, old)
	t.Logf("%s to %s: promoted %v after the kill; then %s", old.name, next.name, round(promoted.Sub(killed)), strings.Join(times, ", "))
}

// leaveBehind kills the Patroni of the primary alone, and starts it again when
// another has been the primary for a while.
func (p *patroni) leaveBehind(t testing.TB, l *failoverLoad) {
	t.Helper()
	old := p.leader(t)
	old.manager.kill()
	next, promoted := p.awaitPromotion(t, old)
	time.Sleep(5 * time.Second) // of load on two primaries
	again := time.Now()
	written := l.last(wrote, again).After(promoted)
	p.comeBack(t, old)
	t.Logf("%s left behind, %s promoted: writes were answered with both there: %v; written %v after the old one's Patroni was started",
		old.name, next.name, written, round(l.after(t, wrote, again).Sub(again)))
}

// comeBack starts a member's Patroni again and waits until it is a standby.
func (p *patroni) comeBack(t testing.TB, m *member) {
	t.Helper()
	p.begin(t, m)
	p.awaitWhole(t)
	if all, err := p.view(); err != nil || all[m.name].Role == "leader" {
		t.Errorf("the old primary came back as %v: %v", all[m.name], err)
	}
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
