package seal

import (
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// What the wrapped secrets hold, in this order: a key; for a tenant and a subject
// the pseudonym that audit entries use; for a subject the salt of its objects' pseudonyms.
const (
	pseudonymSize     = 16
	saltSize          = 16
	tenantSecretSize  = KeySize + pseudonymSize
	driveSecretSize   = KeySize
	subjectSecretSize = KeySize + pseudonymSize + saltSize
)

// The labels of keys derived from others. They are part of the format.
const (
	labelRootWrap  = "domicile/seal/1 root wrap"
	labelRootDrive = "domicile/seal/1 root drive"
	labelIndex     = "domicile/seal/1 tenant index"
	labelLookup    = "domicile/seal/1 tenant lookup"
	labelAudit     = "domicile/seal/1 tenant audit"
	labelWrap      = "domicile/seal/1 tenant wrap"
	labelFacts     = "domicile/seal/1 tenant facts"
	labelInner     = "domicile/seal/1 chunk inner"
	labelOuter     = "domicile/seal/1 chunk outer"
)

// factShards is how many keys a tenant's facts are spread over, so that a
// tenant as a whole may seal 2^36 of them.
const factShards = 16

// TenantKeys are a tenant's keys, expanded. Safe for concurrent use.
type TenantKeys struct {
	region    residency.Region
	tenant    store.Tenant
	pseudonym string
	index     *mac
	lookup    *mac
	audit     *mac
	facts     *mac // derives the shards
	wrap      cipher.AEAD
	shards    [factShards]atomic.Pointer[cipher.AEAD]
}

// newTenantKeys expands a tenant's secret, which the caller clears.
func newTenantKeys(region residency.Region, t store.Tenant, secret []byte) (*TenantKeys, error) {
	root := newMAC(secret[:KeySize])
	k := &TenantKeys{region: region, tenant: t, pseudonym: hex.EncodeToString(secret[KeySize:])}
	var key [KeySize]byte
	defer clear(key[:])
	for _, d := range []struct {
		label string
		into  **mac
	}{{labelIndex, &k.index}, {labelLookup, &k.lookup}, {labelAudit, &k.audit}, {labelFacts, &k.facts}} {
		root.derive(&key, d.label)
		*d.into = newMAC(key[:])
	}
	root.derive(&key, labelWrap)
	var err error
	k.wrap, err = newAEAD(key[:])
	return k, err
}

// ID gives the name of a row: a keyed digest of 16 bytes, the same for the same
// label and parts, and for nobody without the tenant's key related to them. The label
// says what is named, so that digests of different things never meet.
func (k *TenantKeys) ID(label string, parts ...string) store.ID {
	s := k.index.begin()
	s.in = appendPart(s.in, label)
	for _, p := range parts {
		s.in = appendPart(s.in, p)
	}
	id := store.ID(s.end()[:digestSize])
	k.index.release(s)
	return id
}

// appendPart appends a text after its length, so that no two lists of texts
// have the same bytes.
func appendPart(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// Pseudonym is the tenant's name in audit entries: 16 bytes in hexadecimal, drawn at
// random with the tenant's key and destroyed with it.
func (k *TenantKeys) Pseudonym() string { return k.pseudonym }

// ObjectPseudonym is the name in audit entries of an object that belongs to the
// tenant as a whole, a drive: 16 bytes that nobody can compute once the tenant's
// key is destroyed.
func (k *TenantKeys) ObjectPseudonym(id store.ID) []byte { return k.objectPseudonym("", id) }

func (k *TenantKeys) objectPseudonym(salt string, id store.ID) []byte {
	s := k.audit.begin()
	s.in = appendPart(s.in, salt)
	s.in = appendPart(s.in, string(id))
	out := append(make([]byte, 0, digestSize), s.end()[:digestSize]...)
	k.audit.release(s)
	return out
}

// SealFact seals a row that decisions are made from: the tenant itself, drives,
// extents, results of requests, consents of the whole tenant. It takes no permit, and
// so panics for a record, which is personal information.
func (k *TenantKeys) SealFact(kind store.Kind, id store.ID, version uint64, plaintext []byte) []byte {
	mustBeFact(kind)
	b := binding{form: formFact, region: k.region, tenant: &k.tenant, kind: kind, id: id, version: version}
	return sealRow(k.shard(id), &b, plaintext)
}

// OpenFact opens what SealFact sealed under the same kind and id, and gives the
// version that it was sealed with. Errors: of kind IntegrityFailure when it does not open, of kind
// Internal for a record.
func (k *TenantKeys) OpenFact(kind store.Kind, id store.ID, sealed []byte) (plaintext []byte, version uint64, err error) {
	const op = "seal.OpenFact"
	if kind == store.KindRecord {
		return nil, 0, misuse(op, notAFact)
	}
	b := binding{form: formFact, region: k.region, tenant: &k.tenant, kind: kind, id: id}
	return openRow(op, k.shard(id), &b, sealed)
}

// shard gives the key of a fact: ids are digests, or end in a counter, so their last byte spreads them.
func (k *TenantKeys) shard(id store.ID) cipher.AEAD {
	n := byte(0)
	if len(id) > 0 {
		n = id[len(id)-1] % factShards
	}
	if aead := k.shards[n].Load(); aead != nil {
		return *aead
	}
	var key [KeySize]byte
	k.facts.derive(&key, string([]byte{n}))
	aead, err := newAEAD(key[:])
	clear(key[:])
	if err != nil {
		panic("seal: AES-256-GCM: " + err.Error()) // of a key of the right length: cannot be
	}
	k.shards[n].Store(&aead)
	return aead
}
