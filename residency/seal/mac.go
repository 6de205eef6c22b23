package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// digestSize is the length in bytes of the keyed digests that name things: 128
// bits, so that 2^32 of them collide with a chance of 2^-65.
const digestSize = 16

// mac is HMAC-SHA-256 under one key, its inner and outer states computed once
// and the key itself forgotten. Safe for concurrent use.
type mac struct{ states sync.Pool }

// macState is one caller's working memory.
type macState struct {
	hash hash.Hash
	in   []byte
	sum  [sha256.Size]byte
}

// newMAC expands a key, which the caller may clear afterwards.
func newMAC(key []byte) *mac {
	template := hmac.New(sha256.New, key)
	template.Reset() // computes and keeps the states after the key's block
	var mu sync.Mutex
	m := &mac{}
	m.states.New = func() any {
		mu.Lock()
		defer mu.Unlock()
		return &macState{hash: clone(template), in: make([]byte, 0, 256)}
	}
	return m
}

// clone copies a MAC's state. SHA-256 and HMAC of the standard library can
// always be cloned.
func clone(h hash.Hash) hash.Hash {
	c, err := h.(hash.Cloner).Clone()
	if err != nil {
		panic("seal: HMAC-SHA-256 cannot be cloned: " + err.Error())
	}
	return c
}

// begin gives working memory; its in is empty and to be filled with the message.
func (m *mac) begin() *macState {
	s := m.states.Get().(*macState)
	s.in = s.in[:0]
	return s
}

// end computes the MAC of in into sum, which is good until release.
func (s *macState) end() *[sha256.Size]byte {
	s.hash.Reset()
	s.hash.Write(s.in)
	s.hash.Sum(s.sum[:0])
	return &s.sum
}

// release hands the working memory back, cleared: in may hold personal information.
func (m *mac) release(s *macState) {
	clear(s.in)
	clear(s.sum[:])
	m.states.Put(s)
}

// derive gives the first block of HKDF-Expand-SHA256 (RFC 5869) with the mac's
// key as the pseudorandom key: HMAC(key, info ‖ 0x01). 32 bytes into out.
func (m *mac) derive(out *[KeySize]byte, info ...string) {
	s := m.begin()
	for _, part := range info {
		s.in = append(s.in, part...)
	}
	s.in = append(s.in, 1)
	*out = *s.end()
	m.release(s)
}
