package gateway

import (
	"errors"
	"strings"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// requestAge is how long the result of a request_id is kept.
const requestAge = 24 * time.Hour

// replay looks for the result of an earlier call with the same request_id, by
// the same caller, of the same method. found is true, and use was called with
// the result, when there is one for the same request (the same digest); one for
// another request is REQUEST_ID_REUSED.
//
// digest tells requests apart; it is called only when there is a request_id.
func (t *txn) replay(requestID string, digest func() store.ID, use func(result []byte)) (found bool, err error) {
	if requestID == "" {
		return false, nil
	}
	t.request = digest()
	id := t.requestKey(requestID)
	sealed, err := t.Get(store.KindRequest, id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if len(sealed) < idSize {
		return false, residency.E(t.a.op, residency.IntegrityFailure, errors.New("a request's result is cut short"))
	}
	if store.ID(sealed[:idSize]) != t.request {
		return false, residency.E(t.a.op, residency.RequestIDReused, nil)
	}
	keys, err := t.requestKeys()
	if keys == nil || err != nil {
		return false, err
	}
	result, _, err := keys.OpenFact(store.KindRequest, id+t.request, sealed[idSize:])
	if err != nil {
		return false, err
	}
	use(result)
	return true, nil
}

// remember keeps a call's result under its request_id, which replay looked for.
func (t *txn) remember(requestID string, result []byte) error {
	if requestID == "" {
		return nil
	}
	id := t.requestKey(requestID)
	keys, err := t.requestKeys()
	if keys == nil || err != nil {
		return err
	}
	sealed := keys.SealFact(store.KindRequest, id+t.request, 1, result)
	if err := t.Put(store.KindRequest, id, append([]byte(t.request), sealed...)); err != nil {
		return err
	}
	return t.Schedule(store.Task{At: t.now.Add(requestAge), Tenant: t.home.tenant, Kind: store.TaskForgetRequest, ID: id})
}

// requestKeys gives the keys that results are sealed under: of a call about a
// person that person's, so that the result goes when they are erased. It is nil when
// nobody of that name is known.
func (t *txn) requestKeys() (scopeKeys, error) {
	if t.a.subject == "" {
		return t.tk, nil
	}
	sk, err := t.subjectKeys(t.ctx)
	if sk == nil {
		return nil, err
	}
	return sk, nil
}

func (t *txn) requestKey(requestID string) store.ID {
	return t.tk.ID("request", t.a.call.Caller.ID, t.a.call.Method, strings.ToLower(requestID)) // RFC 9562: case does not tell UUIDs apart
}
