package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// The first byte of a key says what it is. FORMAT.md specifies the rest.
const (
	prefixAgenda    = 'a' // a cluster's tasks
	prefixFirst     = 'f' // the place of a cluster's oldest entry that was not dropped
	prefixRegion    = 'g' // a directory's placements by region
	prefixKey       = 'k' // a key store's wrapped keys
	prefixLeader    = 'l' // who leads a cluster's background work
	prefixMeta      = 'm' // what the database is
	prefixOutbox    = 'o' // a cluster's audit entries
	prefixPlacement = 'p' // a directory's placements
	prefixRow       = 'r' // a cluster's rows
	prefixPurge     = 'x' // a key store's ranges that are still to be purged from its files
)

// formatVersion is the version of the layout, written behind the role.
const formatVersion = 1

var formatKey = []byte{prefixMeta, 'f'}

// checkFormat writes what the database is into a new one, and refuses one that
// is something else.
func (e *engine) checkFormat(role string) error {
	want := fmt.Sprintf("domicile %s %d", role, formatVersion)
	got, closer, err := e.db.Get(formatKey)
	if err == nil {
		defer closer.Close()
		if string(got) != want {
			return fmt.Errorf("%w: the database is a %q, this program reads a %q", store.ErrCorrupt, got, want)
		}
		return nil
	}
	if !errors.Is(err, pebble.ErrNotFound) {
		return wrap(err)
	}
	empty, err := e.empty()
	if err != nil {
		return err
	}
	if !empty || e.readOnly {
		return fmt.Errorf("%w: the database does not say what it is, this program reads a %q", store.ErrCorrupt, want)
	}
	return wrap(e.db.Set(formatKey, []byte(want), pebble.Sync))
}

func (e *engine) empty() (bool, error) {
	it, err := e.db.NewIter(nil)
	if err != nil {
		return false, wrap(err)
	}
	found := it.First()
	return !found, wrap(it.Close())
}

// newestPlace finds the last entry of the outbox; 0 when there is none.
func (e *engine) newestPlace() (uint64, error) {
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: outboxKey(nil, 0), UpperBound: []byte{prefixOutbox + 1}})
	if err != nil {
		return 0, wrap(err)
	}
	defer it.Close()
	if !it.Last() {
		return 0, wrap(it.Error())
	}
	return placeOf(it.Key())
}

// rowKey appends a row's key to buf.
func rowKey(buf []byte, t store.Tenant, kind store.Kind, id store.ID) []byte {
	buf = append(buf, prefixRow)
	buf = append(buf, t[:]...)
	buf = append(buf, byte(kind))
	return append(buf, id...)
}

// tenantKey is what the keys of a tenant's rows begin with.
func tenantKey(t store.Tenant) []byte { return append([]byte{prefixRow}, t[:]...) }

// tenantOf is whose a row's key is.
func tenantOf(key []byte) (store.Tenant, error) {
	if len(key) < rowIDAt {
		return store.Tenant{}, fmt.Errorf("%w: a row's key of %d bytes", store.ErrCorrupt, len(key))
	}
	return store.Tenant(key[1:17]), nil
}

// rowIDAt is where a row's ID begins in its key.
const rowIDAt = 1 + 16 + 1

// outboxKey appends an entry's key to buf.
func outboxKey(buf []byte, place uint64) []byte {
	return binary.BigEndian.AppendUint64(append(buf, prefixOutbox), place)
}

func placeOf(key []byte) (uint64, error) {
	if len(key) != 9 {
		return 0, fmt.Errorf("%w: an outbox key of %d bytes", store.ErrCorrupt, len(key))
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

// agendaKey is a task's key. Times from 1970 to 2262 keep their order in it.
func agendaKey(t store.Task) ([]byte, error) {
	at := t.At.UnixNano()
	if at < 0 || !time.Unix(0, at).Equal(t.At) {
		return nil, errors.New("store: a task's time must be between the years 1970 and 2262")
	}
	k := make([]byte, 1, 1+8+16+1+len(t.ID))
	k[0] = prefixAgenda
	k = binary.BigEndian.AppendUint64(k, uint64(at))
	k = append(k, t.Tenant[:]...)
	k = append(k, byte(t.Kind))
	return append(k, t.ID...), nil
}

// parseTask reads an agenda entry; it keeps nothing of key and value.
func parseTask(key, value []byte) (store.Task, error) {
	const idAt = 1 + 8 + 16 + 1
	if len(key) < idAt {
		return store.Task{}, fmt.Errorf("%w: an agenda key of %d bytes", store.ErrCorrupt, len(key))
	}
	return store.Task{
		At:     time.Unix(0, int64(binary.BigEndian.Uint64(key[1:]))).UTC(),
		Tenant: store.Tenant(key[9:25]),
		Kind:   store.TaskKind(key[25]),
		ID:     store.ID(key[idAt:]),
		Value:  append([]byte{}, value...),
	}, nil
}

// agendaEnd is the first key after every task that is due at a time.
func agendaEnd(now time.Time) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixAgenda}, uint64(now.UnixNano())+1)
}

func placementKey(t store.Tenant) []byte { return append([]byte{prefixPlacement}, t[:]...) }

func regionKey(r residency.Region, t store.Tenant) []byte {
	k := append([]byte{prefixRegion, byte(len(r))}, r...)
	return append(k, t[:]...)
}

func wrappedKey(name string) []byte { return append([]byte{prefixKey}, name...) }

func purgeKey(prefix string) []byte { return append([]byte{prefixPurge}, prefix...) }

// after is the first key behind all that start with prefix, which must have a
// byte below 0xff, as the first byte of every key is.
func after(prefix []byte) []byte {
	n := len(prefix)
	for prefix[n-1] == 0xff {
		n--
	}
	next := append([]byte{}, prefix[:n]...)
	next[n-1]++
	return next
}
