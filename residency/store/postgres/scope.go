package postgres

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/domicile-project/domicile/residency/store"
)

// lockSQL takes advisory locks, in order, to be held until the transaction ends.
// The server grants them in the order of asking, so readers cannot starve a writer.
const lockSQL = `select count(case when exclusive then pg_advisory_xact_lock(key) is null else pg_advisory_xact_lock_shared(key) is null end)
	from unnest($1::bigint[], $2::boolean[]) as l(key, exclusive)`

// lockKey gives the advisory lock's number of a thing: 64 bits of a digest. Two
// things with one number exclude each other for nothing, and nothing worse.
func lockKey(parts ...string) int64 {
	h := sha256.New()
	var buf [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(buf[:], uint64(len(p)))
		h.Write(buf[:])
		h.Write([]byte(p))
	}
	return int64(binary.BigEndian.Uint64(h.Sum(buf[:0])))
}

// advisory gives the numbers and modes of a scope's locks in the order in which
// everybody takes them: the leadership's, shared, if the scope names an epoch, the tenant's, then
// those of its objects, ascending, each once and in the stronger of its modes.
func advisory(schema string, scope store.Scope, shared bool) (keys []int64, exclusive []bool) {
	tenant := string(scope.Tenant[:])
	if scope.Epoch != 0 {
		keys, exclusive = append(keys, leadershipKey(schema)), append(exclusive, false)
	}
	keys, exclusive = append(keys, lockKey(schema, tenant)), append(exclusive, scope.Exclusive && !shared)
	type one struct {
		key       int64
		exclusive bool
	}
	objects := make([]one, 0, len(scope.Objects))
	for _, o := range scope.Objects {
		objects = append(objects, one{lockKey(schema, tenant, string(o.Object)), o.Exclusive && !shared})
	}
	slices.SortFunc(objects, func(a, b one) int { return cmp.Compare(a.key, b.key) })
	for i, o := range objects {
		if i > 0 && o.key == objects[i-1].key {
			exclusive[len(exclusive)-1] = exclusive[len(exclusive)-1] || o.exclusive
			continue
		}
		keys, exclusive = append(keys, o.key), append(exclusive, o.exclusive)
	}
	return keys, exclusive
}
