package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

const failoverTenant = "failover"

// What the answers of a failoverLoad are counted by.
const (
	wrote          = "written"
	readHome       = "read at home"
	answeredAbroad = "answered abroad" // with the record, or with the refusal that was right
)

// failoverLoad is callers that go on while servers fail, what they were answered, and what of it was wrong.
type failoverLoad struct {
	t         testing.TB
	app, us   *client.Client
	ctx       context.Context //nolint:containedctx // it ends the callers
	stop      context.CancelFunc
	wg        sync.WaitGroup
	mu        sync.Mutex
	acked     map[string]string // record → its acknowledged content
	ids       []string          // of the acknowledged records
	unsettled map[string]string // record → a content that was never answered
	decisions []string
	answered  map[string][]time.Time // when, by what
	refused   map[string]int         // UNAVAILABLE, by reason
	denied    int                    // reads from abroad

	// Whether a read from abroad may succeed. It is changing from before a grant or a
	// withdrawal is sent until it is answered; turn counts the changes.
	may  permission
	turn int
}

type permission int

const (
	changing permission = iota
	granted
	withdrawn
)

// startLoad starts the callers. Nobody repeats a call for them, so every answer is seen.
func startLoad(t testing.TB, d *daemon) *failoverLoad {
	t.Helper()
	l := &failoverLoad{
		t: t, app: d.dialOnce(t, "app-ch"), us: d.dialOnce(t, "app-us"), acked: make(map[string]string),
		unsettled: make(map[string]string), answered: make(map[string][]time.Time), refused: make(map[string]int),
	}
	_, err := l.app.Records.PutRecord(t.Context(), putRequest("abroad", "r", "anna", ""))
	if err != nil {
		t.Fatal(err)
	}
	l.ctx, l.stop = context.WithCancel(t.Context())
	for w := range 4 {
		l.wg.Go(func() { l.write(w) })
	}
	for range 2 {
		l.wg.Go(l.read)
		l.wg.Go(l.readFromAbroad)
	}
	l.wg.Go(l.govern)
	return l
}

// dialOnce connects as an identity; a call is made once and never repeated.
func (d *daemon) dialOnce(t testing.TB, identity string) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Options{
		Address: d.grpc, Identity: client.EmbeddedIdentity(d.data, identity), Timeout: 10 * time.Second, MaxAttempts: 1,
		FollowHome: client.FollowNever,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func putRequest(subject, id, content, request string) *residencyv1.PutRecordRequest {
	return &residencyv1.PutRecordRequest{TenantId: failoverTenant, Record: personalRecord(subject, id, content), RequestId: request}
}

// pause lets the others have the processor.
func (l *failoverLoad) pause(d time.Duration) {
	select {
	case <-l.ctx.Done():
	case <-time.After(d):
	}
}

// settled reports whether a call was answered. UNAVAILABLE is no answer; every other
// error is a wrong one, but the end of the test.
func (l *failoverLoad) settled(what string, err error) bool {
	if err == nil || l.ctx.Err() != nil {
		return err == nil
	}
	var e *client.Error
	if !errors.As(err, &e) || e.Code != codes.Unavailable || e.Reason == "" {
		l.t.Errorf("%s: %v", what, err)
	}
	l.mu.Lock()
	l.refused[e.Reason]++
	l.mu.Unlock()
	l.pause(20 * time.Millisecond)
	return false
}

// until repeats a call, under the same request_id, until it is answered; false when the test has ended before.
func (l *failoverLoad) until(what string, call func(ctx context.Context) error) bool {
	for l.ctx.Err() == nil {
		if l.settled(what, call(l.ctx)) {
			return true
		}
	}
	return false
}

// note counts an answer.
func (l *failoverLoad) note(what, decision string) {
	l.answered[what] = append(l.answered[what], time.Now())
	l.decisions = append(l.decisions, decision)
}

func (l *failoverLoad) write(worker int) {
	for i := 0; l.ctx.Err() == nil; i++ {
		id, content := fmt.Sprintf("r%d-%d", worker, i), fmt.Sprintf("c%d-%d", worker, i)
		req := putRequest(fmt.Sprint("s", worker), id, content, requestID())
		var decision string
		var version int64
		l.mu.Lock()
		l.unsettled[id] = content
		l.mu.Unlock()
		ok := l.until("PutRecord", func(ctx context.Context) error {
			r, err := l.app.Records.PutRecord(ctx, req, client.DecisionID(&decision))
			version = r.GetVersion()
			return err
		})
		if !ok {
			return
		}
		if version != 1 {
			l.t.Errorf("record %s was written %d times under one request_id", id, version)
		}
		l.mu.Lock()
		l.acked[id], l.ids = content, append(l.ids, id)
		delete(l.unsettled, id)
		l.note(wrote, decision)
		l.mu.Unlock()
		l.pause(5 * time.Millisecond)
	}
}

// requestID makes a random UUID (RFC 9562, version 4).
func requestID() string {
	a, b := rand.Uint64(), rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0xfff, b&0xffffffffffff)
}

// some gives one of the acknowledged records.
func (l *failoverLoad) some() (id, content string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ids) == 0 {
		return "", "", false
	}
	id = l.ids[rand.IntN(len(l.ids))]
	return id, l.acked[id], true
}

func (l *failoverLoad) read() {
	for l.ctx.Err() == nil {
		l.pause(5 * time.Millisecond)
		id, content, ok := l.some()
		if !ok {
			continue
		}
		name, decision, err := getName(l.ctx, l.app, "s"+id[1:2], id)
		if !l.settled("GetRecord", err) {
			continue
		}
		if name != content {
			l.t.Errorf("record %s is %q, acknowledged was %q", id, name, content)
		}
		l.mu.Lock()
		l.note(readHome, decision)
		l.mu.Unlock()
	}
}

// getName reads the name in a record.
func getName(ctx context.Context, c *client.Client, subject, id string) (name, decision string, err error) {
	r, err := c.Records.GetRecord(ctx, &residencyv1.GetRecordRequest{
		TenantId: failoverTenant, SubjectId: subject, RecordId: id, Purpose: residencyv1.Purpose_PURPOSE_PAYMENTS,
	}, client.DecisionID(&decision))
	return r.GetRecord().GetPersonal().GetFullName(), decision, err
}

// readFromAbroad reads under a consent that comes and goes. What is answered must be what was
// the case, if it was the case from before the read began until after it ended.
func (l *failoverLoad) readFromAbroad() {
	for l.ctx.Err() == nil {
		l.pause(5 * time.Millisecond)
		l.mu.Lock()
		before, turn := l.may, l.turn
		l.mu.Unlock()
		name, decision, err := getName(l.ctx, l.us, "abroad", "r")
		var no *client.Denied
		if errors.As(err, &no) {
			err = nil
		}
		if !l.settled("GetRecord from abroad", err) {
			continue
		}
		l.mu.Lock()
		same := turn == l.turn
		if no != nil {
			l.denied++
			decision = no.DecisionID
		}
		l.note(answeredAbroad, decision)
		l.mu.Unlock()
		switch {
		case no == nil && name != "anna":
			l.t.Errorf("read from abroad: %q", name)
		case no == nil && same && before == withdrawn:
			l.t.Errorf("a read from abroad that began after the withdrawal had answered was allowed, decision %s", decision)
		case no != nil && same && before == granted:
			l.t.Errorf("a read from abroad under an active consent was refused: %v", no)
		}
		if no != nil {
			l.pause(20 * time.Millisecond) // refusals are limited per caller
		}
	}
}

// become says that reads from abroad may now succeed, or not, or that it is changing.
func (l *failoverLoad) become(p permission) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.may = p
	l.turn++
}

// govern grants a consent and withdraws it, again and again.
func (l *failoverLoad) govern() {
	for l.ctx.Err() == nil {
		l.become(changing)
		grant := &residencyv1.GrantConsentRequest{
			TenantId: failoverTenant, RequestId: requestID(),
			Consent: borderConsent(residencyv1.DataClass_DATA_CLASS_PERSONAL_INFORMATION, residencyv1.Purpose_PURPOSE_PAYMENTS),
		}
		var id string
		if !l.until("GrantConsent", func(ctx context.Context) error {
			r, err := l.app.Consents.GrantConsent(ctx, grant)
			id = r.GetConsent().GetConsentId()
			return err
		}) {
			return
		}
		l.become(granted)
		l.pause(300 * time.Millisecond)
		l.become(changing)
		withdraw := &residencyv1.WithdrawConsentRequest{TenantId: failoverTenant, ConsentId: id, RequestId: requestID()}
		if !l.until("WithdrawConsent", func(ctx context.Context) error {
			_, err := l.app.Consents.WithdrawConsent(ctx, withdraw)
			return err
		}) {
			return
		}
		l.become(withdrawn)
		l.pause(300 * time.Millisecond)
	}
}

// after gives when the first answer of a kind came after a moment; it waits for it.
func (l *failoverLoad) after(t testing.TB, what string, moment time.Time) (first time.Time) {
	t.Helper()
	await(t, what+" again", func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, at := range l.answered[what] {
			if at.After(moment) {
				first = at
				return nil
			}
		}
		return errors.New("nobody is answered")
	})
	return first
}

// last gives when the last answer of a kind came before a moment.
func (l *failoverLoad) last(what string, moment time.Time) (last time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.answered[what] {
		if at.After(moment) {
			break
		}
		last = at
	}
	return last
}

// end stops the callers.
func (l *failoverLoad) end() {
	l.stop()
	l.wg.Wait()
}

// verify compares what is there with what was acknowledged.
func (l *failoverLoad) verify(t testing.TB, d *daemon) {
	t.Helper()
	app, admin := d.dial(t, "app-ch"), d.dial(t, "admin-ch")
	half := 0
	for id, content := range l.unsettled {
		switch name, _, err := getName(t.Context(), app, "s"+id[1:2], id); {
		case status.Code(err) == codes.NotFound:
		case err != nil || name != content:
			t.Errorf("record %s, which was not acknowledged, is %q: %v", id, name, err)
		default:
			half++
		}
	}
	each(l.ids, func(id string) {
		if name, _, err := getName(t.Context(), app, "s"+id[1:2], id); err != nil || name != l.acked[id] {
			t.Errorf("record %s is %q, acknowledged was %q: %v", id, name, l.acked[id], err)
		}
	})
	each(l.decisions, func(id string) {
		_, err := admin.Audit.GetDecision(t.Context(), &residencyv1.GetDecisionRequest{TenantId: failoverTenant, DecisionId: id})
		if err != nil {
			t.Errorf("an answered call has no entry in the log: %v", err)
		}
	})
	t.Logf("%d writes acknowledged, 0 lost; %d answers in all, of which %d refusals abroad, 0 without an entry, 0 allowed against a withdrawal; UNAVAILABLE meanwhile: %v; %d writes unanswered at the end, %d of them there",
		len(l.ids), len(l.decisions), l.denied, l.refused, len(l.unsettled), half)
}

// each does something to all, several at a time.
func each(all []string, do func(string)) {
	work := make(chan string)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for one := range work {
				do(one)
			}
		})
	}
	for _, one := range all {
		work <- one
	}
	close(work)
	wg.Wait()
}
