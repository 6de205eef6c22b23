package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// replica is one of several gateways over the same stores, with its own way to
// the region's PostgreSQL.
type replica struct {
	name   string
	d      *daemon
	way    *proxy
	app    *client.Client   // the caller at home
	us     *grpc.ClientConn // the caller abroad
	served atomic.Int64     // what that one got: answers, and messages of streams
}

const (
	replicaTenant = "replicas"
	replicaCount  = 5
	replicaDrive  = 32 << 20 // bytes
)

// startReplicas starts the gateways, which stop with the test.
func startReplicas(t *testing.T) (all []*replica) {
	base, err := prepareOnServers(t, t.TempDir())
	if err != nil {
		skipWithoutTool(t, err)
		t.Fatal(err)
	}
	server := fmt.Sprintf("127.0.0.1:%d", running.postgres["ch"].Port)
	for n := range replicaCount {
		r := &replica{name: fmt.Sprint("zrh-", n+1), way: newProxy(t, server)}
		text := strings.ReplaceAll(base.config, server, r.way.l.Addr().String())
		text = set(t, text, "  name: "+r.name)
		file := filepath.Join(t.TempDir(), "gateway.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r.d = &daemon{data: base.data, args: []string{"--config", file}, config: text, layout: base.layout}
		if err := r.d.launch(); err != nil {
			t.Fatal(err)
		}
		r.d.stopWith(t)
		t.Cleanup(r.resume)
		r.app, r.us = r.d.dial(t, "app-ch"), r.d.dialNarrow(t, "app-us")
		all = append(all, r)
	}
	return all
}

func (r *replica) pause()  { r.d.cmd.Process.Signal(syscall.SIGSTOP) }
func (r *replica) resume() { r.d.cmd.Process.Signal(syscall.SIGCONT) }

// withdrawal is one consent's: when it was asked for and answered, and what had failed meanwhile.
type withdrawal struct {
	began, answered time.Time
	paused, cut     *replica // nil = none
}

func (w *withdrawal) kind() string {
	switch {
	case w.paused != nil && w.cut != nil:
		return "one paused, one cut off"
	case w.paused != nil:
		return "one paused"
	case w.cut != nil:
		return "one cut off"
	}
	return "all well"
}

// Five gateways over one PostgreSQL and one bucket, through all of which a caller abroad reads
// records and drives on a consent. It is withdrawn through one of them, while one is stopped and
// continued and one loses its database: once the withdrawal is answered, none decides
// another read by that consent, and none begins to send anything that rested on it.
func TestWithdrawalsAcrossReplicas(t *testing.T) {
	all := startReplicas(t)
	register(t, all[0].d.dial(t, "admin-ch"), replicaTenant)
	fill(t, all[0].app, replicaTenant, replicaDrive)
	_, err := all[0].app.Records.PutRecord(t.Context(), &residencyv1.PutRecordRequest{TenantId: replicaTenant, Record: personalRecord("s", "r", "anna")})
	if err != nil {
		t.Fatal(err)
	}
	l := startAbroad(t, all)
	done := make(map[string]*withdrawal)
	for i := range count(20, 200) {
		consent, w := l.withdraw(t, i)
		done[consent] = w
	}
	l.end()
	l.judge(t, done)
}

// withdraw grants a consent, has it used through every replica, withdraws it, and lets
// everybody recover.
func (l *abroadLoad) withdraw(t *testing.T, i int) (string, *withdrawal) {
	order := rand.Perm(len(l.replicas))
	by, w := l.replicas[order[0]], &withdrawal{}
	if i%2 == 1 {
		w.paused = l.replicas[order[1]]
	}
	if i%4 >= 2 {
		w.cut = l.replicas[order[2]]
	}
	consent := l.grant(t)
	l.awaitUse(t)
	stalled := l.stall()
	var faults sync.WaitGroup
	answered := make(chan struct{})
	if w.paused != nil { // from before or after the withdrawal is asked for until before or after it is answered
		faults.Go(func() {
			time.Sleep(time.Duration(rand.IntN(800)) * time.Millisecond)
			w.paused.pause()
			time.Sleep(time.Duration(300+rand.IntN(2000)) * time.Millisecond)
			w.paused.resume()
		})
	}
	if w.cut != nil {
		faults.Go(func() {
			time.Sleep(time.Duration(rand.IntN(800)) * time.Millisecond)
			if i%8 < 4 {
				w.cut.way.sever()
			} else {
				w.cut.way.silence()
			}
			<-answered
			time.Sleep(300 * time.Millisecond)
			w.cut.way.mend()
		})
	}
	time.Sleep(400 * time.Millisecond)
	w.began = time.Now()
	asked, err := by.withdraw(t, consent)
	w.answered = time.Now()
	close(answered)
	close(stalled)
	l.gate.Store(nil)
	faults.Wait()
	if err != nil {
		t.Fatalf("withdrawing with %s, asked for %d times: %v", w.kind(), asked, err)
	}
	time.Sleep(200 * time.Millisecond)
	l.recover(t)
	return consent, w
}

// withdraw asks for a withdrawal until it is answered: what a gateway has locked that was stopped or cut
// off is free again a second later, and until then it is UNAVAILABLE.
func (r *replica) withdraw(t *testing.T, consent string) (asked int, err error) {
	request := &residencyv1.WithdrawConsentRequest{TenantId: replicaTenant, ConsentId: consent, RequestId: requestID()}
	for end := time.Now().Add(startLimit); time.Now().Before(end); {
		asked++
		if _, err = r.app.Consents.WithdrawConsent(t.Context(), request); !isCode(err, codes.Unavailable) && !isCode(err, codes.DeadlineExceeded) {
			break
		}
	}
	return asked, err
}

// grant permits both kinds of reads.
func (l *abroadLoad) grant(t *testing.T) string {
	consent := borderConsent(personal, payments)
	consent.DataClasses = append(consent.DataClasses, driveData)
	consent.Purposes = append(consent.Purposes, services)
	by := l.replicas[rand.IntN(len(l.replicas))]
	r, err := by.app.Consents.GrantConsent(t.Context(), &residencyv1.GrantConsentRequest{TenantId: replicaTenant, Consent: consent})
	if err != nil {
		t.Fatal(err)
	}
	return r.Consent.ConsentId
}

// awaitUse waits until every replica has let something pass.
func (l *abroadLoad) awaitUse(t *testing.T) {
	for _, r := range l.replicas {
		before := r.served.Load()
		eventually(t, "reads through "+r.name, func() bool { return r.served.Load() >= before+5 })
	}
}

// recover waits until every replica serves again.
func (l *abroadLoad) recover(t *testing.T) {
	for _, r := range l.replicas {
		eventually(t, r.name+" serves again", func() bool {
			_, err := r.app.Records.GetRecord(t.Context(), &residencyv1.GetRecordRequest{
				TenantId: replicaTenant, SubjectId: "s", RecordId: "r", Purpose: payments,
			})
			return err == nil
		})
	}
}

// tally is what was seen in all.
type tally struct {
	answers map[string][]time.Duration // of withdrawals, by what had failed
	last    map[string]time.Duration   // from asking for it to the last message of a gateway that was not paused, likewise
	late    map[string][]int           // messages after the answer, of each read, by what it was
	streams int
	cut     int
}

// judge holds what callers saw against the log and the moments of the answers.
//
// A message is late when it came to the caller after the withdrawal was answered, both by this
// machine's clock. Of one stream there may be one, which was with the transport; callers take what
// has come through a window that is less than a message. Of a gateway that was stopped
// there may be one more, which it had looked for and not sent yet.
func (l *abroadLoad) judge(t *testing.T, done map[string]*withdrawal) {
	resting := l.log(t, done)
	sum := tally{answers: make(map[string][]time.Duration), last: make(map[string]time.Duration), late: make(map[string][]int)}
	for _, w := range done {
		sum.answers[w.kind()] = append(sum.answers[w.kind()], w.answered.Sub(w.began))
	}
	for _, s := range l.seen {
		if w := done[resting[s.decision]]; w != nil {
			sum.judge(t, s, w)
		} else {
			t.Errorf("%s let a %s pass of which the log has no consent of the test's: decision %q", s.replica.name, s.what, s.decision)
		}
	}
	sum.tell(t)
}

// judge judges one read.
func (y *tally) judge(t *testing.T, s sighting, w *withdrawal) {
	if s.began.After(w.answered) {
		t.Errorf("%s: a %s was allowed that was asked for %v after the answer", s.replica.name, s.what, s.began.Sub(w.answered))
	}
	late := 0
	for _, at := range s.arrived {
		if at.After(w.answered) {
			late++
		}
	}
	most, what := 1, s.what
	if s.replica == w.paused {
		most, what = 2, what+", of a gateway that was paused"
	}
	last := s.arrived[len(s.arrived)-1]
	if late > most {
		t.Errorf("%s, with %s: %d messages of a %s came after the answer, the last after %v", s.replica.name, w.kind(), late, what, last.Sub(w.answered))
	}
	y.late[what] = append(y.late[what], late)
	if s.replica != w.paused && s.what != stalledStream {
		y.last[w.kind()] = max(y.last[w.kind()], last.Sub(w.began))
	}
	if s.stream {
		y.streams++
		if reasonOf(s.err) == "CONSENT_WITHDRAWN" {
			y.cut++
		}
	}
}

// tell prints what was seen, in order.
func (y *tally) tell(t *testing.T) {
	if y.cut == 0 {
		t.Error("no stream was cut: nothing raced")
	}
	for _, kind := range slices.Sorted(maps.Keys(y.answers)) {
		t.Logf("%d withdrawals, %s: answered after %v; the last message that was read at once came after %v",
			len(y.answers[kind]), kind, spread(y.answers[kind]), round(y.last[kind]))
	}
	for _, what := range slices.Sorted(maps.Keys(y.late)) {
		some := 0
		for _, n := range y.late[what] {
			some += min(n, 1)
		}
		t.Logf("%d × %s: %d with a message after the answer, at most %d", len(y.late[what]), what, some, slices.Max(y.late[what]))
	}
	t.Logf("%d streams, %d of them cut; 0 allowed after an answer", y.streams, y.cut)
}

// spread tells the least, the median and the most.
func spread(d []time.Duration) string {
	slices.Sort(d)
	return fmt.Sprintf("%v to %v, median %v", round(d[0]), round(d[len(d)-1]), round(d[len(d)/2]))
}
