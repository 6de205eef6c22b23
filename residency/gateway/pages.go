package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// The bounds of a page, and how many rows, those that decide about each
// subject included, one call looks at: a page may come back short, even empty,
// with a token to go on from.
const (
	defaultPage = 100
	maxPage     = 1000
	maxLook     = 10_000

	// maxPageBytes is from how many bytes of personal information on a page takes
	// no further row: with the largest record after it, it stays below the 4 MiB
	// that clients take by default.
	maxPageBytes = 2 << 20
)

const macSize = 16

// pager walks one page of a list. Its tokens are bound to the caller, the
// method and the filter: another's token is refused like a made-up one.
type pager struct {
	size  int
	after store.ID
	mac   func(after store.ID) store.ID
}

// page starts a page of a list of the act's tenant.
func (t *txn) page(p Page, filter ...string) (*pager, error) {
	return newPager(t.a, p, defaultPage, maxPage, func(after store.ID) store.ID {
		parts := append([]string{t.a.call.Caller.ID, t.a.call.Method, string(after), t.a.purpose.String()}, filter...)
		return t.tk.ID("page", parts...)
	})
}

// regionPage starts a page of a list of a region.
func (g *Gateway) regionPage(a *act, p Page) (*pager, error) {
	return newPager(a, p, defaultPage, maxPage, g.regionMAC(a))
}

// regionMAC binds the tokens of a list of a region to its caller, its method and its filter.
func (g *Gateway) regionMAC(a *act, filter ...string) func(after store.ID) store.ID {
	return func(after store.ID) store.ID {
		mac := hmac.New(sha256.New, g.cfg.DirectoryKey)
		for _, s := range []string{"page", a.call.Caller.ID, a.call.Method, string(a.region.Name), string(after)} {
			mac.Write([]byte(s))
			mac.Write([]byte{0})
		}
		for _, s := range filter { // which may hold any byte
			mac.Write(binary.AppendUvarint(nil, uint64(len(s))))
			mac.Write([]byte(s))
		}
		return store.ID(mac.Sum(nil)[:macSize])
	}
}

// newPager starts a page of at most so many, and of so many when the caller says nothing.
func newPager(a *act, p Page, usual, most int, mac func(store.ID) store.ID) (*pager, error) {
	out := &pager{size: p.Size, mac: mac}
	if out.size == 0 {
		out.size = usual
	}
	if out.size < 1 || out.size > most {
		return nil, residency.Bad(a.op, "page_size", fmt.Sprintf("must be 0 to %d", most))
	}
	if p.Token == "" {
		return out, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(p.Token)
	if err == nil && len(raw) > macSize {
		out.after = store.ID(raw[macSize:])
		if subtle.ConstantTimeCompare(raw[:macSize], []byte(mac(out.after))) == 1 {
			return out, nil
		}
	}
	return nil, residency.Bad(a.op, "page_token", "must be the next_page_token of the same list, asked for by the same caller")
}

func (p *pager) token(after store.ID) string {
	return base64.RawURLEncoding.EncodeToString([]byte(p.mac(after) + after))
}

// walkShown is walk for a list of what the caller may see among what is there, which visit
// appends to list. It gives a token only when there is more to be shown: of what is left out,
// a token would tell that it is there.
func walkShown[T any](p *pager, t *txn, list *[]T, kind store.Kind, prefix store.ID, visit func(store.ID, []byte) (bool, error)) (string, error) {
	ahead := *p
	ahead.size++
	var last store.ID
	next, err := ahead.walk(t, kind, prefix, func(id store.ID, value []byte) (bool, error) {
		before, relied := t.bytes, t.consents
		in, err := visit(id, value)
		if in && len(*list) <= p.size {
			last = id
			return in, err
		}
		t.consents = relied // nothing is told that rests on what was found for this one
		if in {             // it does not leave with this page
			t.bytes = before
		}
		return in, err
	})
	if err == nil && len(*list) > p.size {
		*list, next = (*list)[:p.size], p.token(last)
	}
	return next, err
}

// walk calls visit with the rows of a kind under a prefix until the page is full, and
// gives the token of the next page, or "" when nothing is left. visit says
// whether the row became part of the page.
func (p *pager) walk(t *txn, kind store.Kind, prefix store.ID, visit func(store.ID, []byte) (bool, error)) (string, error) {
	var last store.ID
	var failed error
	n, looked, more := 0, 0, false
	err := t.Scan(kind, prefix, p.after, func(id store.ID, value []byte) bool {
		if n >= p.size || looked >= maxLook || t.work >= maxLook || t.bytes >= maxPageBytes {
			more = true
			return false
		}
		if failed = t.ctx.Err(); failed != nil {
			return false
		}
		looked++
		t.work++
		var in bool
		if in, failed = visit(id, value); failed != nil {
			return false
		}
		if in {
			n++
		}
		last = id
		return true
	})
	if failed != nil {
		err = failed
	}
	if err != nil || !more {
		return "", err
	}
	return p.token(last), nil
}
