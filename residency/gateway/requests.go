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
	plain, _, err := t.tk.OpenFact(store.KindRequest, id, sealed)
	if err != nil {
		return false, err
	}
	row, err := decodeRequest(plain)
	if err != nil {
		return false, residency.E(t.a.op, residency.IntegrityFailure, err)
	}
	if row.Digest != t.request {
		return false, residency.E(t.a.op, residency.RequestIDReused, nil)
	}
	use(row.Result)
	return true, nil
}

// remember keeps a call's result under its request_id, which replay looked for.
func (t *txn) remember(requestID string, result []byte) error {
	if requestID == "" {
		return nil
	}
	id := t.requestKey(requestID)
	row := requestRow{Digest: t.request, Result: result}
	if err := t.Put(store.KindRequest, id, t.tk.SealFact(store.KindRequest, id, 1, row.encode())); err != nil {
		return err
	}
	return t.Schedule(store.Task{At: t.now.Add(requestAge), Tenant: t.home.tenant, Kind: store.TaskForgetRequest, ID: id})
}

func (t *txn) requestKey(requestID string) store.ID {
	return t.tk.ID("request", t.a.call.Caller.ID, t.a.call.Method, strings.ToLower(requestID)) // RFC 9562: case does not tell UUIDs apart
}
