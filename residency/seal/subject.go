package seal

import (
	"crypto/cipher"
	"encoding/hex"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/store"
)

// SubjectKeys are one person's keys, expanded: whatever is sealed under them is
// gone when the subject's key is destroyed. Safe for concurrent use.
type SubjectKeys struct {
	tenant    *TenantKeys
	subject   store.ID
	pseudonym string
	salt      string
	aead      cipher.AEAD
}

// newSubjectKeys expands a subject's secret, which the caller clears.
func newSubjectKeys(tk *TenantKeys, subject store.ID, secret []byte) (*SubjectKeys, error) {
	aead, err := newAEAD(secret[:KeySize])
	if err != nil {
		return nil, err
	}
	return &SubjectKeys{
		tenant: tk, subject: subject, aead: aead,
		pseudonym: hex.EncodeToString(secret[KeySize : KeySize+pseudonymSize]),
		salt:      string(secret[KeySize+pseudonymSize:]),
	}, nil
}

// Pseudonym is the subject's name in audit entries: 16 bytes in hexadecimal, drawn at random with
// the subject's key and destroyed with it. Nothing links it to the subject after that.
func (k *SubjectKeys) Pseudonym() string { return k.pseudonym }

// ObjectPseudonym is the name in audit entries of something of the subject's, a
// record: 16 bytes that nobody can compute once the subject's key is destroyed.
func (k *SubjectKeys) ObjectPseudonym(id store.ID) []byte {
	return k.tenant.objectPseudonym(k.salt, id)
}

func (k *SubjectKeys) binding(f form, kind store.Kind, id store.ID) binding {
	return binding{form: f, region: k.tenant.region, tenant: &k.tenant.tenant, kind: kind, id: id}
}

// SealFact seals a row about the subject that decisions are made from: the
// subject itself, its consents. It takes no permit, and so panics for a record.
func (k *SubjectKeys) SealFact(kind store.Kind, id store.ID, version uint64, plaintext []byte) []byte {
	mustBeFact(kind)
	b := k.binding(formFact, kind, id)
	b.version = version
	return sealRow(k.aead, &b, plaintext)
}

// OpenFact opens what SealFact sealed under the same kind and id, and gives the
// version that it was sealed with. Errors: of kind IntegrityFailure when it does not
// open, of kind Internal for a record.
func (k *SubjectKeys) OpenFact(kind store.Kind, id store.ID, sealed []byte) (plaintext []byte, version uint64, err error) {
	const op = "seal.OpenFact"
	if kind == store.KindRecord {
		return nil, 0, misuse(op, notAFact)
	}
	b := k.binding(formFact, kind, id)
	return openRow(op, k.aead, &b, sealed)
}

// Seal seals personal information. The permit must be for personal information
// of the tenant: all of it, this subject's, or this row's. Errors: of kind
// Internal when the permit does not fit; nothing is sealed then.
func (k *SubjectKeys) Seal(p Permit, kind store.Kind, id store.ID, version uint64, plaintext []byte) ([]byte, error) {
	if why := k.refuses(&p, id); why != "" {
		return nil, misuse("seal.Seal", why)
	}
	b := k.binding(formPersonal, kind, id)
	b.version = version
	return sealRow(k.aead, &b, plaintext), nil
}

// Open opens what Seal sealed under the same kind and id, and gives the version that it
// was sealed with. Errors: of kind Internal when the permit does not fit, and
// nothing is opened then; of kind IntegrityFailure when the row does not open.
func (k *SubjectKeys) Open(p Permit, kind store.Kind, id store.ID, sealed []byte) (plaintext []byte, version uint64, err error) {
	const op = "seal.Open"
	if why := k.refuses(&p, id); why != "" {
		return nil, 0, misuse(op, why)
	}
	b := k.binding(formPersonal, kind, id)
	return openRow(op, k.aead, &b, sealed)
}

func (k *SubjectKeys) refuses(p *Permit, row store.ID) string {
	return p.refuses(&k.tenant.tenant, residency.PersonalInformation, k.subject, row)
}
