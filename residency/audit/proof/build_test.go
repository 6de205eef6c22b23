package proof

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const origin = "domicile.test/ch/ch-1"

// builtLog is a log as the tests make it: by package tlog's own numbering of hashes, which the code
// under test does not use, and with none of the product's code.
type builtLog struct {
	entries [][]byte
	hashes  stored
	files   map[string][]byte // the tiles
	bundles map[string]int    // the paths of bundles: their first entry
	key     Key
	signer  note.Signer
}

// stored are a tree's hashes in tlog's numbering.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = s[x]
	}
	return out, nil
}

// build makes a log of entries and signs it.
func build(t testing.TB, entries [][]byte) *builtLog {
	t.Helper()
	l := &builtLog{entries: entries, files: map[string][]byte{}, bundles: map[string]int{}}
	l.signer, l.key = newKey(t, origin, "the log")
	for i, e := range entries {
		more, err := tlog.StoredHashes(int64(i), e, l.hashes)
		if err != nil {
			t.Fatal(err)
		}
		l.hashes = append(l.hashes, more...)
	}
	for _, tile := range tlog.NewTiles(8, 0, int64(len(entries))) {
		data, err := tlog.ReadTileData(tile, l.hashes)
		if err != nil {
			t.Fatal(err)
		}
		l.files[pathOf(tile)] = data
		if tile.L == 0 {
			tile.L = -1
			l.bundles[pathOf(tile)] = int(tile.N) * 256
		}
	}
	return l
}

// pathOf makes a C2SP path of one of the Go checksum database.
func pathOf(t tlog.Tile) string {
	return strings.Replace(strings.Replace(t.Path(), "tile/8/", "tile/", 1), "/data/", "/entries/", 1)
}

// newKey makes a pair of keys of a seed.
func newKey(t testing.TB, name, seed string) (note.Signer, Key) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(strings.NewReader(strings.Repeat(seed, 32)), name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return signer, key
}

// sign makes a checkpoint.
func sign(t testing.TB, size int, root tlog.Hash, signers ...note.Signer) []byte {
	t.Helper()
	text := fmt.Sprintf("%s\n%d\n%s\n", origin, size, base64.StdEncoding.EncodeToString(root[:]))
	signed, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (l *builtLog) root(t testing.TB, size int) tlog.Hash {
	t.Helper()
	h, err := tlog.TreeHash(int64(size), l.hashes)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// checkpoint signs the log as it was when it had a size.
func (l *builtLog) checkpoint(t testing.TB, size int) []byte {
	t.Helper()
	return sign(t, size, l.root(t, size), l.signer)
}

// remembered is the same, opened.
func (l *builtLog) remembered(t testing.TB, size int) Checkpoint {
	t.Helper()
	c, err := l.key.OpenCheckpoint(l.checkpoint(t, size))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// receipt writes a proof of an entry in a checkpoint of a size.
func (l *builtLog) receipt(t testing.TB, index, size int, signers ...note.Signer) []byte {
	t.Helper()
	p, err := tlog.ProveRecord(int64(size), int64(index), l.hashes)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "c2sp.org/tlog-proof@v1\nextra %s\nindex %d\n", base64.StdEncoding.EncodeToString(l.entries[index]), index)
	for _, h := range p {
		fmt.Fprintln(&b, base64.StdEncoding.EncodeToString(h[:]))
	}
	b.WriteString("\n")
	b.Write(sign(t, size, l.root(t, size), append([]note.Signer{l.signer}, signers...)...))
	return []byte(b.String())
}

// served is a log as a source, with what somebody changed in it. Bundles are written as they are read, so that a
// change that shifts all later entries costs nothing.
type served struct {
	*builtLog
	checkpoint []byte
	at         func(i int) []byte // the entry that stands at an index; nil behind the last
	tiles      map[string][]byte  // tiles that are others than the log's; nil = missing
	gone       map[string]bool    // files that are missing
}

// serve gives the log as it is.
func (l *builtLog) serve(t testing.TB) *served {
	t.Helper()
	return &served{builtLog: l, checkpoint: l.checkpoint(t, len(l.entries)), at: l.entryAt, tiles: map[string][]byte{}, gone: map[string]bool{}}
}

func (l *builtLog) entryAt(i int) []byte {
	if i < len(l.entries) {
		return l.entries[i]
	}
	return nil
}

func (s *served) ReadFile(_ context.Context, path string, most int) ([]byte, error) {
	data, ok := s.read(path)
	if !ok {
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	if len(data) > most {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", path, len(data), most)
	}
	return data, nil
}

func (s *served) read(path string) ([]byte, bool) {
	if path == "checkpoint" {
		return s.checkpoint, true
	}
	if s.gone[path] {
		return nil, false
	}
	if first, ok := s.bundles[path]; ok {
		return s.bundle(first), true
	}
	if data, ok := s.tiles[path]; ok {
		return data, true
	}
	data, ok := s.files[path]
	return data, ok
}

// bundle writes a bundle of what stands there. The log's last one takes what is left over.
func (s *served) bundle(first int) []byte {
	var b []byte
	for i := first; i < first+256 || first+256 >= len(s.entries); i++ {
		e := s.at(i)
		if e == nil {
			break
		}
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(e))), e...)
	}
	return b
}

// witness is the private half of a witness's key.
type witness struct {
	name string
	key  ed25519.PrivateKey
	time uint64
}

func newWitness(t testing.TB, name, seed string) (witness, Witness) {
	t.Helper()
	sum := sha256.Sum256([]byte(seed))
	w := witness{name: name, key: ed25519.NewKeyFromSeed(sum[:]), time: 1793664000}
	public := append([]byte{4}, w.key.Public().(ed25519.PublicKey)...)
	out, err := ParseWitness(fmt.Sprintf("%s+%08x+%s", name, w.KeyHash(), base64.StdEncoding.EncodeToString(public)))
	if err != nil {
		t.Fatal(err)
	}
	return w, out
}

func (w witness) Name() string { return w.name }

func (w witness) KeyHash() uint32 {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n\x04", w.name)
	h.Write(w.key.Public().(ed25519.PublicKey))
	return binary.BigEndian.Uint32(h.Sum(nil))
}

func (w witness) Sign(text []byte) ([]byte, error) {
	sig := ed25519.Sign(w.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", w.time, text))
	return append(binary.BigEndian.AppendUint64(nil, w.time), sig...), nil
}

// fields writes an entry of tags and values, in the order in which they are given.
func fields(tagsAndValues ...any) []byte {
	b := []byte{1}
	for i := 0; i < len(tagsAndValues); i += 2 {
		var v []byte
		switch x := tagsAndValues[i+1].(type) {
		case int:
			v = binary.AppendUvarint(nil, uint64(x))
		case string:
			v = []byte(x)
		}
		b = append(b, byte(tagsAndValues[i].(int)))
		b = append(binary.AppendUvarint(b, uint64(len(v))), v...)
	}
	return b
}

// entry makes an entry like those of a gateway's day: reads that are refused at the border and such that a consent allows.
func entry(place int) []byte {
	id := func(what string) string {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", what, place))
		return string(sum[:16])
	}
	tenant := sha256.Sum256([]byte{byte(place % 40)})
	digest := sha256.Sum256([]byte("the policy"))
	common := []any{
		1, place, 2, 1793664000000000000 + place*1000003, 3, id("decision"), 4, 1, 5, "/residency.v1.RecordService/GetRecord",
		6, "spiffe://domicile/app-us", 7, "ch", 8, "zrh-1", 9, string(tenant[:16]), 10, id("subject"), 11, id("record"),
	}
	policy := []any{15, "product/border", 16, "2012-05-02", 17, string(digest[:]), 18, "CloudSigma AG"}
	way := []any{21, "CH", 22, "US", 23, 2, 24, 1, 25, 2}
	if place%3 == 0 {
		all := append(append(append(common, 12, 1), policy...), 19, "0197a3f0-3333-7e3f-8a4b-5c6d7e8f9012")
		return fields(append(append(all, way...), 26, "CH", 26, "US", 28, 1500+place%700, 31, id("consent"))...)
	}
	return fields(append(append(append(append(common, 13, 5, 14, 1), policy...), way...), 27, 5)...)
}

func entries(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = entry(i + 1)
	}
	return out
}

// logSize is that of the great log: three levels of tiles, all of them ending in one that is not full.
const logSize = 100_000

var greatEntries = sync.OnceValue(func() [][]byte { return entries(logSize) })
