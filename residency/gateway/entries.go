package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

// LogEntry is an entry of a log.
type LogEntry = audit.Entry

// ReadEntries asks for entries of a log, newest first.
type ReadEntries struct {
	Tenant  string           // "" = all of a cluster's
	Region  residency.Region // whose cluster it is then
	Cluster string           // "" = the region's only one
	Filter  EntryFilter
	Page    Page // at most 10000; 0 = 1000
}

// EntryFilter says which entries are wanted; the zero value of each field = all.
type EntryFilter struct {
	Since  time.Time // of a tenant's entries the time of their decision counts, else each one's own
	Before time.Time
	Only   Outcomes
	Reason residency.Kind // that the call was refused for, or gave in the end
	From   residency.Jurisdiction
	To     residency.Jurisdiction
	Caller string // exactly
	Class  residency.DataClass
	Action residency.Action
}

// The bounds of a page of entries.
const (
	defaultEntries = 1000
	maxEntries     = 10_000
	maxEntryBytes  = 4 << 20 // encoded, as the log has them
	entriesAtOnce  = 512     // read from the store in one go

	// entryPiece is how many bytes of encoded entries are sent at once. What is sent says in text what they say in
	// bits: it stays below 256 KiB.
	entryPiece = 64 << 10

	// clockMargin is how far the times of entries may be from the order of their places, and a decision's identifier,
	// which the gateway's clock is in, from its time by the cluster's.
	clockMargin = time.Minute
)

// within reports whether a time is one that is wanted.
func (f *EntryFilter) within(t time.Time) bool {
	return !t.Before(f.Since) && (f.Before.IsZero() || t.Before(f.Before))
}

// holds reports whether an entry is one that is wanted, its time apart.
func (f *EntryFilter) holds(e *audit.Entry) bool {
	switch {
	case f.Only == OnlyAllowed && !e.Allow, f.Only == OnlyDenied && e.Allow:
	case f.Reason != residency.OK && f.Reason != e.Reason && f.Reason != e.Result:
	case !f.From.IsZero() && f.From != e.From, !f.To.IsZero() && f.To != e.To:
	case f.Caller != "" && f.Caller != e.Caller:
	case f.Class != residency.DataClassUnspecified && f.Class != e.DataClass:
	case f.Action != residency.ActionUnspecified && f.Action != e.Action:
	default:
		return true
	}
	return false
}

// words are the filter as a page's token is bound to it.
func (f *EntryFilter) words() []string {
	return []string{
		f.Since.UTC().Format(time.RFC3339Nano), f.Before.UTC().Format(time.RFC3339Nano), string('0' + rune(f.Only)), f.Reason.String(),
		f.From.String(), f.To.String(), f.Caller, f.Class.String(), f.Action.String(),
	}
}

// ReadEntries hands entries of a log to send, newest first, in pieces below 256 KiB; the last has the next page's token. All of
// them are read in the transaction of the decision. A receiver that takes longer than a lease gets no more of them, and
// a token to go on from.
func (g *Gateway) ReadEntries(ctx context.Context, call *Call, req ReadEntries, send func(list []audit.Entry, next string) error) error {
	const op = "gateway.ReadEntries"
	a := &act{call: call, op: op, tenant: req.Tenant, suspended: true, page: g.newStream(op, call)}
	var cluster *Cluster // nil = the tenant's
	if req.Tenant == "" {
		var err error
		if a.region, cluster, err = g.logOf(op, call, req); err != nil {
			return err
		}
	}
	began := g.elapsed()
	var r *entryReader
	_, err := g.decide(ctx, a, func(t *txn) (err error) {
		r = &entryReader{filter: req.Filter, began: g.elapsed(), g: g, lease: g.limits.Lease}
		if cluster == nil {
			return r.tenants(t, req.Page)
		}
		return r.clusters(t, cluster, req.Page)
	})
	if err != nil {
		return err
	}
	return r.hand(began, send)
}

// logOf finds the log that a request is about, which only who may see every tenant may read.
func (g *Gateway) logOf(op string, call *Call, req ReadEntries) (*Region, *Cluster, error) {
	if !call.Caller.SeesAll {
		return nil, nil, residency.E(op, residency.CallerNotPermitted, errors.New("a whole log is for who may see every tenant"))
	}
	region := g.region(req.Region)
	if region == nil {
		return nil, nil, residency.Bad(op, "region", "must be one of "+g.regionNames())
	}
	c, err := region.clusterOf(op, req.Cluster)
	return region, c, err
}

// entryReader reads a page of entries.
type entryReader struct {
	g      *Gateway
	filter EntryFilter
	pager  *pager
	began  time.Duration
	lease  time.Duration

	list   []listedEntry
	bytes  int
	looked int
	next   string
}

// listedEntry is an entry of a page, and the position behind it.
type listedEntry struct {
	audit.Entry
	size int
	at   store.ID
}

// enough reports whether no further entry is to be looked at, however few were found: a decision
// serves for a lease, and its page must be sent within it.
func (r *entryReader) enough() bool {
	return r.looked >= maxLook || r.g.elapsed()-r.began >= r.lease/2
}

// full reports whether the page takes no further entry.
func (r *entryReader) full() bool { return len(r.list) >= r.pager.size || r.bytes >= maxEntryBytes }

// add puts an entry on the page, if there is room; else the page ends before it.
func (r *entryReader) add(e *parsedEntry, at store.ID) bool {
	if r.full() {
		r.next = r.pager.token(r.list[len(r.list)-1].at)
		return false
	}
	r.list = append(r.list, listedEntry{e.Entry, e.size, at})
	r.bytes += e.size
	return true
}

// hand sends what was read.
func (r *entryReader) hand(began time.Duration, send func([]audit.Entry, string) error) error {
	for rest := r.list; ; {
		n, bytes := 0, 0
		for n < len(rest) && bytes < entryPiece {
			bytes += rest[n].size
			n++
		}
		piece := make([]audit.Entry, n)
		for i := range piece {
			piece[i] = rest[i].Entry
		}
		if n == len(rest) {
			return send(piece, r.next)
		}
		if err := send(piece, ""); err != nil {
			return err
		}
		if r.g.elapsed()-began >= r.lease { // what is left was read too long ago
			return send(nil, r.pager.token(rest[n-1].at))
		}
		rest = rest[n:]
	}
}

// tenants reads the entries about the act's tenant. A position is the row of a decision's index, and the place of the entry.
func (r *entryReader) tenants(t *txn, p Page) (err error) {
	if r.pager, err = newPager(t.a, p, defaultEntries, maxEntries, func(after store.ID) store.ID {
		return t.tk.ID("page", append([]string{t.a.call.Caller.ID, t.a.call.Method, string(after)}, r.filter.words()...)...)
	}); err != nil {
		return err
	}
	after, done := r.start()
	for {
		rows, err := t.decisionRows(after, r.oldest(), entriesAtOnce)
		if err != nil || len(rows) == 0 {
			return err
		}
		found, err := t.entriesOf(rows)
		if err != nil {
			return err
		}
		for i := range rows {
			if !r.decision(&rows[i], found, done) {
				return nil
			}
			after = rows[i].row
		}
		if r.looked += len(rows); r.enough() {
			r.next = r.pager.token(after + placeID(0))
			return nil
		}
	}
}

// decision adds the entries of one decision, the last of them first; false = the page has ended.
func (r *entryReader) decision(row *decisionRow, found foundEntries, done store.ID) bool {
	if decided, ok := row.decided(found); !ok || !r.filter.within(decided) {
		return true
	}
	for i := len(row.places) - 1; i >= 0; i-- {
		at := row.row + placeID(row.places[i])
		e, ok := found[row.places[i]]
		if !ok || !r.filter.holds(&e.Entry) || done != "" && at[:16] == done[:16] && row.places[i] >= placeOf(done[16:]) {
			continue
		}
		if !r.add(&e, at) {
			return false
		}
	}
	return true
}

// start gives the row behind which a page of a tenant's entries begins, and the position that it goes on from, or "".
func (r *entryReader) start() (after, done store.ID) {
	if done = r.pager.after; len(done) == 24 {
		return before(done[:16]), done
	}
	if r.filter.Before.IsZero() {
		return "", ""
	}
	return decidedAt(r.filter.Before.Add(clockMargin)), ""
}

// oldest gives the row from which on a tenant's decisions are too old; "" = none is.
func (r *entryReader) oldest() store.ID {
	if r.filter.Since.IsZero() {
		return ""
	}
	return decidedAt(r.filter.Since.Add(-clockMargin))
}

// decidedAt gives the first row that a decision of a time, to the millisecond, can have: rows are in
// descending order of time, which the first six bytes of an identifier of version 7 are.
func decidedAt(t time.Time) store.ID {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], ^uint64(max(t.UnixMilli(), 0))<<16) //nolint:gosec // not negative
	return store.ID(b[:6])
}

// before gives the greatest row identifier that is less than another of the same length.
func before(id store.ID) store.ID {
	b := []byte(id)
	for i := len(b) - 1; i >= 0; i-- {
		b[i]--
		if b[i] != 0xff {
			break
		}
	}
	return store.ID(b)
}

func placeID(place uint64) store.ID { return store.ID(binary.BigEndian.AppendUint64(nil, place)) }

func placeOf(id store.ID) uint64 { return binary.BigEndian.Uint64([]byte(id)) }
