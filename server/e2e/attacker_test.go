package e2e

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// attacker has everything that a gateway has on disk, root keys included, and knows the formats: residency/seal/FORMAT.md, residency/gateway/FORMAT.md
// and residency/store/pebble/FORMAT.md. It shares no code with the gateway. It also knows whom it looks for: the identifiers that
// callers chose.
type attacker struct {
	data   string // a copy of the gateway's folder
	region string
	known  acquaintance

	keys, rows []pair            // what the key store and the cluster's database hold
	tenants    []*tenantSecret   // that unwrap
	macs       map[string][]byte // every key that something could be keyed by, by what it is
	derived    map[string]string // every 16 bytes that could be a pseudonym or a name, and how they come about
	opened     [][]byte          // the plaintext of every row that opens
}

// acquaintance is what the attacker knows from elsewhere.
type acquaintance struct {
	tenants, subjects, records, recipients, emails []string
}

// pair is a key and a value of a database.
type pair struct{ key, value []byte }

// tenantSecret is what a tenant's wrapped keys hold.
type tenantSecret struct {
	tenant   []byte // its name in the stores
	key      []byte
	subjects []subjectSecret
}

type subjectSecret struct{ name, key, pseudonym, salt []byte }

// attack reads a copy of a stopped gateway's folder and derives all that can be derived from it.
func attack(t *testing.T, data, region string, known acquaintance) *attacker {
	t.Helper()
	a := &attacker{data: data, region: region, known: known, macs: map[string][]byte{}, derived: map[string]string{}}
	a.keys = pairsIn(t, filepath.Join(data, "keys", region, "store"))
	a.rows = pairsIn(t, filepath.Join(data, region, "rows"))
	a.unwrapAll(t)
	for _, tenant := range a.tenants {
		a.openRows(tenant)
	}
	a.deriveAll()
	return a
}

// pairsIn reads a database.
func pairsIn(t *testing.T, folder string) (all []pair) {
	t.Helper()
	db, err := pebble.Open(folder, &pebble.Options{ReadOnly: true, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	it, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		all = append(all, pair{bytes.Clone(it.Key()), bytes.Clone(it.Value())})
	}
	if err := it.Error(); err != nil {
		t.Fatal(err)
	}
	return all
}

// unwrapAll opens every key of the key store, from the root down.
func (a *attacker) unwrapAll(t *testing.T) {
	t.Helper()
	const root, drive = 17, 17 + 32 // where the keyring's roots are
	ring := contents(t, filepath.Join(a.data, "keys", a.region, "root"))
	a.macs["the data root"], a.macs["the drive root"] = ring[root:drive], ring[drive:drive+32]
	a.macs["the root's wrap key"] = derive(ring[root:drive], "domicile/seal/1 root wrap")
	a.macs["the root's drive key"] = derive(ring[drive:drive+32], "domicile/seal/1 root drive")
	a.macs["the directory's key"] = contents(t, filepath.Join(a.data, "keys", "directory.key"))
	a.macs["the log's seed"] = contents(t, filepath.Join(a.data, "keys", a.region, "audit"))
	for _, p := range a.keys {
		if name := p.key[1:]; p.key[0] == 'k' && len(name) == 17 && name[16] == 1 && !bytes.Equal(name[:16], make([]byte, 16)) {
			secret := openGCM(a.macs["the root's wrap key"], a.binding(1, name[:16], 0, nil, 0), p.value[1:])
			if secret == nil {
				t.Fatal("a tenant's key does not unwrap")
			}
			a.tenants = append(a.tenants, a.unwrapTenant(t, name[:16], secret))
		}
	}
}

// unwrapTenant opens the keys of a tenant's subjects and drives, and derives the tenant's own.
func (a *attacker) unwrapTenant(t *testing.T, name, secret []byte) *tenantSecret {
	t.Helper()
	s := &tenantSecret{tenant: name, key: secret[:32]}
	who := "tenant " + hex.EncodeToString(name[:4])
	a.secret(who, secret)
	for _, label := range []string{"index", "lookup", "audit", "wrap", "facts"} {
		a.macs[who+"'s "+label+" key"] = derive(s.key, "domicile/seal/1 tenant "+label)
	}
	for _, p := range a.keys {
		if p.key[0] != 'k' || !bytes.HasPrefix(p.key[1:], name) || len(p.key) < 20 {
			continue
		}
		form, id := p.key[17], p.key[19:]
		secret := openGCM(a.macs[who+"'s wrap key"], a.binding(uint64(form), name, 0, id, 0), p.value[1:])
		if secret == nil {
			t.Fatal("a key below a tenant's does not unwrap")
		}
		a.secret(fmt.Sprintf("%s's %s %x", who, []string{2: "subject", 3: "drive"}[form], id[:4]), secret)
		if form == 2 {
			s.subjects = append(s.subjects, subjectSecret{id, secret[:32], secret[32:48], secret[48:64]})
		}
	}
	return s
}

// secret takes what a wrapped key held: a key to all, and every 16 bytes of it.
func (a *attacker) secret(who string, secret []byte) {
	a.macs[who+"'s key"] = secret[:32]
	for at := 0; at+16 <= len(secret); at += 16 {
		a.derived[string(secret[at:at+16])] = fmt.Sprintf("bytes %d of the secret of %s", at, who)
	}
}

// openRows opens every row of a tenant's with every key that it could be under.
func (a *attacker) openRows(s *tenantSecret) {
	facts := derive(s.key, "domicile/seal/1 tenant facts")
	for _, p := range a.rows {
		if p.key[0] != 'r' || !bytes.Equal(p.key[1:17], s.tenant) {
			continue
		}
		for _, way := range waysOf(p.key[18:], p.value) {
			shard := byte(0)
			if n := len(way.key); n > 0 {
				shard = way.key[n-1] % 16
			}
			keys := [][]byte{derive(facts, string([]byte{shard}))}
			for _, sub := range s.subjects {
				keys = append(keys, sub.key)
			}
			for _, key := range keys {
				a.open(key, s.tenant, uint64(p.key[17]), way)
			}
		}
	}
}

// waysOf gives the ways in which a row's value can be sealed: all of it, bound to its id; behind a digest; behind a head after its length.
func waysOf(id, value []byte) []pair {
	ways := []pair{{id, value}}
	if len(value) > 16 {
		ways = append(ways, pair{bytes.Join([][]byte{id, value[:16]}, nil), value[16:]})
	}
	if n, k := binary.Uvarint(value); k > 0 && n < uint64(len(value)-k) {
		head := value[k : k+int(n)]
		ways = append(ways, pair{bytes.Join([][]byte{id, head}, nil), value[k+int(n):]})
	}
	return ways
}

// open opens a sealed row as a fact and as personal information, and keeps what comes out.
func (a *attacker) open(key, tenant []byte, kind uint64, sealed pair) {
	if len(sealed.value) < 37 || sealed.value[0] != 1 {
		return
	}
	version := binary.BigEndian.Uint64(sealed.value[1:])
	for _, form := range []uint64{4, 5} {
		if plain := openGCM(key, a.binding(form, tenant, kind, sealed.key, version), sealed.value[9:]); plain != nil {
			a.opened = append(a.opened, plain)
		}
	}
}

// binding is what sealed bytes are bound to.
func (a *attacker) binding(form uint64, tenant []byte, kind uint64, id []byte, version uint64) []byte {
	b := []byte{1}
	field := func(tag byte, value []byte) {
		if len(value) > 0 {
			b = append(binary.AppendUvarint(append(b, tag), uint64(len(value))), value...)
		}
	}
	number := func(tag byte, v uint64) {
		if v > 0 {
			field(tag, binary.AppendUvarint(nil, v))
		}
	}
	number(1, form)
	field(2, []byte(a.region))
	field(3, tenant)
	number(4, kind)
	field(5, id)
	number(6, version)
	return b
}

// deriveAll puts every message that anything is the keyed digest of under every key.
func (a *attacker) deriveAll() {
	for message, what := range a.messages() {
		for of, key := range a.macs {
			a.derived[string(h16(key, message))] = what + " under " + of
		}
	}
}

// messages are what keyed digests are of: labels and identifiers as rows are named by them, addresses as they are looked up, and salts
// with names as objects' pseudonyms are of them.
func (a *attacker) messages() map[string]string {
	all := map[string]string{}
	k := &a.known
	for _, name := range slices.Concat(k.tenants, k.subjects, k.records, k.recipients) {
		all[name], all[text(name)], all["tenant\x00"+name] = name, name, "the tenant "+name
		for _, label := range []string{"subject", "record", "drive", "recipient", "request", "erase-subject"} {
			all[text(label, name)] = label + " " + name
		}
		for _, email := range k.emails {
			all[text("email/1", email)] = "the address " + email
		}
		for _, record := range k.records {
			all[text("record", name, record)] = "record " + record + " of " + name
		}
	}
	for _, salt := range a.salts() {
		for id := range a.names() {
			all[text(salt, id)] = fmt.Sprintf("the object %x", id)
		}
	}
	return all
}

// salts are those of every subject whose key is there, and none, as drives have it.
func (a *attacker) salts() []string {
	salts := []string{""}
	for _, t := range a.tenants {
		for _, s := range t.subjects {
			salts = append(salts, string(s.salt))
		}
	}
	return salts
}

// names are the ids that rows have or had: every stored one and each 16 bytes of it, and those of known people and their records.
func (a *attacker) names() map[string]bool {
	ids := map[string]bool{}
	for _, p := range a.rows {
		for at := 18; p.key[0] == 'r' && at+16 <= len(p.key); at += 16 {
			ids[string(p.key[at:at+16])], ids[string(p.key[18:])] = true, true
		}
	}
	for _, subject := range a.known.subjects {
		for _, name := range a.namesOf(subject) {
			ids[string(name)] = true
		}
	}
	return ids
}

// namesOf gives the names that rows about a person, and about their records, have under each tenant's keys.
func (a *attacker) namesOf(subject string) (names [][]byte) {
	for _, t := range a.tenants {
		index := derive(t.key, "domicile/seal/1 tenant index")
		person := h16(index, text("subject", subject))
		names = append(names, person)
		for _, record := range a.known.records {
			name := h16(index, text("record", subject, record))
			names = append(names, name, slices.Concat(person, name))
		}
	}
	return names
}

// finds says how 16 bytes can be come by: "" = the attacker did not find them.
func (a *attacker) finds(pseudonym []byte) string {
	if how, ok := a.derived[string(pseudonym)]; ok {
		return how
	}
	for _, plain := range a.opened {
		if bytes.Contains(plain, pseudonym) || bytes.Contains(plain, []byte(hex.EncodeToString(pseudonym))) {
			return "a row that opens"
		}
	}
	return ""
}

func openGCM(key, ad, sealed []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil || len(sealed) < 28 {
		return nil
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil
	}
	plain, err := aead.Open(make([]byte, 0, len(sealed)), sealed[:12], sealed[12:], ad)
	if err != nil {
		return nil
	}
	return plain
}

// derive is HKDF-Expand-SHA256's first block.
func derive(key []byte, info string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(append([]byte(info), 1))
	return mac.Sum(nil)
}

func h16(key []byte, message string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(message))
	return mac.Sum(nil)[:16]
}

// text is texts, each after its length.
func text(parts ...string) string {
	var b []byte
	for _, p := range parts {
		b = append(binary.AppendUvarint(b, uint64(len(p))), p...)
	}
	return string(b)
}

func contents(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
