package proof

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func TestReceipts(t *testing.T) {
	l := build(t, entries(700))
	for _, size := range []int{1, 2, 255, 256, 257, 700} {
		for _, index := range []int{0, size / 2, size - 1} {
			got, err := l.key.VerifyReceipts(l.receipt(t, index, size))
			if err != nil || len(got) != 1 {
				t.Fatalf("leaf %d of %d: %v", index, size, err)
			}
			r := got[0]
			if r.Index != uint64(index) || r.Entry.Place != uint64(index+1) || !bytes.Equal(r.Encoded, l.entries[index]) || r.Checkpoint.Size != uint64(size) {
				t.Errorf("leaf %d of %d: %+v", index, size, r)
			}
		}
	}
	two := slices.Concat(l.receipt(t, 3, 600), []byte("\n"), l.receipt(t, 9, 700))
	if got, err := l.key.VerifyReceipts(two); err != nil || len(got) != 2 || got[0].Index != 3 || got[1].Index != 9 {
		t.Errorf("two in one file: %d, %v", len(got), err)
	}
}

// No bit of a receipt can be changed, be it of one proof or two, cosigned or not.
func TestNoBitOfAReceiptCanBeChanged(t *testing.T) {
	l := build(t, entries(300))
	signer, known := newWitness(t, "witness.test/us", "the other region")
	plain := slices.Concat(l.receipt(t, 5, 299), []byte("\n"), l.receipt(t, 299, 300))
	cosigned := l.receipt(t, 7, 300, signer)
	for _, test := range []struct {
		name      string
		file      []byte
		witnesses []Witness
	}{{"two proofs", plain, nil}, {"cosigned", cosigned, []Witness{known}}} {
		if _, err := l.key.VerifyReceipts(test.file, test.witnesses...); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		for bit := range len(test.file) * 8 {
			changed := bytes.Clone(test.file)
			changed[bit/8] ^= 1 << (bit % 8)
			if _, err := l.key.VerifyReceipts(changed, test.witnesses...); err == nil {
				t.Errorf("%s: bit %d of byte %d (%q) can be changed", test.name, bit%8, bit/8, test.file[bit/8])
			}
		}
		for i := range test.file {
			if _, err := l.key.VerifyReceipts(slices.Delete(bytes.Clone(test.file), i, i+1), test.witnesses...); err == nil {
				t.Errorf("%s: byte %d (%q) can be left out", test.name, i, test.file[i])
			}
			if _, err := l.key.VerifyReceipts(slices.Insert(bytes.Clone(test.file), i, test.file[i]), test.witnesses...); err == nil {
				t.Errorf("%s: byte %d (%q) can be doubled", test.name, i, test.file[i])
			}
		}
	}
}

func TestReceiptsThatAreNone(t *testing.T) {
	l := build(t, entries(300))
	good := string(l.receipt(t, 5, 300))
	other := build(t, append(entries(299), entry(1)))
	_, strange := newKey(t, origin, "another key")
	_, elsewhere := newKey(t, "domicile.test/us/us-1", "the log")
	sub := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for _, test := range []struct {
		name, file string
		key        Key
		says       string
	}{
		{"nothing", "", l.key, "does not begin with"},
		{"other version", sub("@v1", "@v2"), l.key, "does not begin with"},
		{"bytes behind", good + "\n", l.key, "proof 2: it does not begin with"},
		{"an empty line too many between two", good + "\n\n" + good, l.key, "proof 2: it does not begin with"},
		{"leading zero", sub("index 5", "index 05"), l.key, "without leading zeroes"},
		{"negative", sub("index 5", "index -5"), l.key, "without leading zeroes"},
		{"beyond the log", sub("index 5", "index 300"), l.key, "not in a log of 300"},
		{"next leaf", sub("index 5", "index 6"), l.key, "not at this place"},
		{"no entry", sub("extra ", "extra"), l.key, "has not the lines extra"},
		{"base64 in two lines", sub("extra AQ", "extra A\r\nQ"), l.key, "has not the lines"},
		{"the entry says another place", string(other.receipt(t, 299, 300)), other.key, "says that its place is 1, and is proved at place 300"},
		{"key of another", good, strange, "no signature in it is by the key"},
		{"key of another log", good, elsewhere, "no signature in it is by the key"},
		{"no key", good, Key{}, "no key"},
	} {
		if _, err := test.key.VerifyReceipts([]byte(test.file)); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %q", test.name, err, test.says)
		}
	}
	big := bytes.Repeat([]byte("x"), MaxReceipts+1)
	if _, err := l.key.VerifyReceipts(big); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("too large: %v", err)
	}
}

// A witness that was asked for must have signed; others do no harm, and say nothing.
func TestWitnesses(t *testing.T) {
	l := build(t, entries(10))
	signer, known := newWitness(t, "witness.test/us", "the other region")
	_, another := newWitness(t, "witness.test/us", "somebody else of that name")
	signed := sign(t, 10, l.root(t, 10), l.signer, signer)
	c, err := l.key.OpenCheckpoint(signed, known)
	if err != nil || len(c.Cosigned) != 1 || c.Cosigned[0].Witness != "witness.test/us" || !c.Cosigned[0].Time.Equal(time.Unix(1793664000, 0)) {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = l.key.OpenCheckpoint(signed); err != nil || len(c.Cosigned) != 0 {
		t.Errorf("not asked for: %+v, %v", c, err)
	}
	unknown := l.receipt(t, 5, 10, signer)
	if _, err := l.key.VerifyReceipts(unknown); err == nil || !strings.Contains(err.Error(), "nobody's key is known for the signature of witness.test/us") {
		t.Errorf("a receipt with a signature that nobody can check: %v", err)
	}
	if _, err := l.key.VerifyReceipts(unknown, known); err != nil {
		t.Errorf("asked for: %v", err)
	}
	if _, err = l.key.OpenCheckpoint(signed, another); err == nil || !strings.Contains(err.Error(), "not cosigned by witness.test/us") {
		t.Errorf("another's key: %v", err)
	}
	if _, err = l.key.OpenCheckpoint(l.checkpoint(t, 10), known); err == nil || !strings.Contains(err.Error(), "not cosigned") {
		t.Errorf("not cosigned: %v", err)
	}
	if _, err = l.key.OpenCheckpoint(sign(t, 10, l.root(t, 10), signer), known); err == nil || !strings.Contains(err.Error(), "not signed by the key of "+origin) {
		t.Errorf("cosigned only: %v", err)
	}
	sig, _ := signer.Sign([]byte("text"))
	sig[7]++ // the time of another
	if known.Verify([]byte("text"), sig) {
		t.Error("the time of a cosignature can be changed")
	}
}

func TestCheckpointsThatAreNone(t *testing.T) {
	signer, key := newKey(t, origin, "the log")
	root := base64.StdEncoding.EncodeToString(make([]byte, 32))
	open := func(text string) (Checkpoint, error) {
		signed, err := note.Sign(&note.Note{Text: text}, signer)
		if err != nil {
			t.Fatal(err)
		}
		return key.OpenCheckpoint(signed)
	}
	c, err := open(origin + "\n7\n" + root + "\nmore\nand more\n")
	if err != nil || c.Size != 7 || !slices.Equal(c.Extensions, []string{"more", "and more"}) {
		t.Errorf("%+v, %v", c, err)
	}
	for text, says := range map[string]string{
		origin + "\n7\n":                                 "three lines",
		origin + "\n07\n" + root + "\n":                  "leading zeroes",
		origin + "\n+7\n" + root + "\n":                  "leading zeroes",
		origin + "\n9223372036854775808\n" + root + "\n": "2^62",
		origin + "\n7\n" + root[:40] + "\n":              "want 32",
		origin + "\n7\n" + root[:42] + "B=\n":            "base64",
		origin + "\n7\n" + root + "\n\nmore\n":           "empty line",
		"domicile.test/us\n7\n" + root + "\n":            `of the log "domicile.test/us"`,
	} {
		if _, err := open(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
}

func TestKeysThatAreNone(t *testing.T) {
	_, vkey, err := note.GenerateKey(strings.NewReader(strings.Repeat("s", 32)), origin)
	if err != nil {
		t.Fatal(err)
	}
	for text, says := range map[string]string{
		"":                 "of the form",
		vkey[:len(vkey)-1]: "of the form",
		vkey + "\n":        "of the form",
		strings.ToUpper(vkey[:len(origin)]) + vkey[len(origin):]: "hash",
		"x" + vkey:                        "hash",
		origin + "+00000000+BAAA":         "algorithm 1",
		"a b" + vkey[len(origin):]:        "of the form",
		strings.Replace(vkey, "+", "", 1): "of the form",
	} {
		if _, err := ParseKey(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
	if _, err := ParseWitness(vkey); err == nil || !strings.Contains(err.Error(), "algorithm 4") {
		t.Errorf("a log's key as a witness's: %v", err)
	}
}

// vector is an entry of testdata, as it is laid out there.
type vector struct {
	Name    string
	Encoded string
	Entry   struct {
		Entry
		TimeNS    int64    `json:"time_ns"`
		Phase     uint64   `json:"phase"`
		Reason    uint64   `json:"reason"`
		Missing   uint64   `json:"missing"`
		ConsentID string   `json:"consent_id"`
		Further   []string `json:"consents"`
		Action    int      `json:"action"`
		DataClass int      `json:"data_class"`
		Purpose   int      `json:"purpose"`
		Result    int      `json:"result"`
		End       int      `json:"end"`
	}
}

// The decoder reads the published vectors, field by field, though it shares no code with the program that writes entries.
func TestEntryVectors(t *testing.T) {
	b, err := os.ReadFile("../testdata/entries.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(b, &vectors); err != nil || len(vectors) < 10 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for _, v := range vectors {
		var encoded []byte
		if _, err := fmt.Sscanf(v.Encoded, "%x", &encoded); err != nil {
			t.Fatal(err)
		}
		got, err := ParseEntry(encoded)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		want := v.Entry.Entry
		want.Time = time.Unix(0, v.Entry.TimeNS).UTC()
		want.Phase, want.Reason, want.Result, want.End = phases[v.Entry.Phase], reasons[v.Entry.Reason], reasons[v.Entry.Result], ends[v.Entry.End]
		want.Action, want.DataClass, want.Purpose = actions[v.Entry.Action], dataClasses[v.Entry.DataClass], purposes[v.Entry.Purpose]
		want.Missing, want.Consents = nil, nil
		for i, name := range requirements {
			if v.Entry.Missing>>i&1 == 1 {
				want.Missing = append(want.Missing, name)
			}
		}
		if v.Entry.ConsentID != "" {
			want.Consents = []string{v.Entry.ConsentID}
		}
		want.Consents = append(want.Consents, v.Entry.Further...)
		if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
			t.Errorf("%s:\n got %s\nwant %s", v.Name, g, w)
		}
	}
}

// A file that lost any line, or its end, is refused, and the proof is named that is not right.
func TestReceiptsThatLostSomething(t *testing.T) {
	l := build(t, entries(300))
	first, second := l.receipt(t, 7, 300), l.receipt(t, 9, 300)
	file := slices.Concat(first, []byte("\n"), second)
	if got, err := l.key.VerifyReceipts(file); err != nil || len(got) != 2 {
		t.Fatal(err)
	}
	refused := func(name string, b []byte, proof int) {
		if _, err := l.key.VerifyReceipts(b); err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("proof %d: ", proof)) {
			t.Errorf("%s: %v, want one about proof %d", name, err, proof)
		}
	}
	for n := range len(file) {
		switch {
		case n < len(first):
			refused(fmt.Sprint("cut at ", n), file[:n], 1)
		case n > len(first): // where the first ends is a file of one
			refused(fmt.Sprint("cut at ", n), file[:n], 2)
		}
	}
	lines := strings.SplitAfter(string(second), "\n")
	for i := range len(lines) - 1 {
		without := strings.Join(slices.Delete(slices.Clone(lines), i, i+1), "")
		refused(fmt.Sprint("the second without line ", i+1), slices.Concat(first, []byte("\n"), []byte(without)), 2)
		refused(fmt.Sprint("the first without line ", i+1), slices.Concat([]byte(without), []byte("\n"), first), 1)
	}
}

// Of a checkpoint's witnesses it is told who signed, who is named and did not, and who signed and is nobody's.
func TestWhoCosigned(t *testing.T) {
	l := build(t, entries(3))
	peer, peerKey := newWitness(t, "witness.test/peer", "peer")
	_, absentKey := newWitness(t, "witness.test/absent", "absent")
	stranger, _ := newWitness(t, "witness.test/stranger", "stranger")
	keyText := func(w Witness) string {
		return fmt.Sprintf("%s+%08x+%s", w.name, w.hash, base64.StdEncoding.EncodeToString(append([]byte{algCosignature}, w.key...)))
	}
	root := l.root(t, 3)
	text := fmt.Sprintf("%s\n3\n%s\nwitness: peer %s\nwitness: outside %s\n", origin, base64.StdEncoding.EncodeToString(root[:]), keyText(peerKey), keyText(absentKey))
	signed, err := note.Sign(&note.Note{Text: text}, l.signer, peer, stranger)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.key.OpenCheckpoint(signed)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Named) != 1 || c.Named[0].Witness != "witness.test/peer" || c.Named[0].Time.IsZero() {
		t.Errorf("named: %+v", c.Named)
	}
	if len(c.Absent) != 1 || c.Absent[0] != (Cosignature{Witness: "witness.test/absent", Kind: "outside"}) {
		t.Errorf("absent: %+v", c.Absent)
	}
	if !slices.Equal(c.Unchecked, []string{"witness.test/stranger"}) {
		t.Errorf("unchecked: %v", c.Unchecked)
	}
}

// least are the fields that no entry is without.
func least(more ...any) []any {
	return append([]any{1, 7, 2, 1000, 3, "0123456789abcdef", 4, 1, 5, "/m", 7, "ch"}, more...)
}

func TestEntriesThatAreNone(t *testing.T) {
	if _, err := ParseEntry(fields(least()...)); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 1025)
	id := func(i int) string { return fmt.Sprintf("0123456789abcde%x", i) }
	var nine []any
	for i := range 9 {
		nine = append(nine, 31, id(i))
	}
	for name, b := range map[string][]byte{
		"nothing":                  nil,
		"other version":            append([]byte{2}, fields(least()...)[1:]...),
		"cut":                      fields(least()...)[:30],
		"unknown field":            fields(least(32, "x")...),
		"order":                    fields(append([]any{7, "ch"}, least()...)...),
		"twice":                    fields(least(7, "ch")...),
		"empty field":              fields(least(15, "")...),
		"long text":                fields(least(15, long)...),
		"no text":                  fields(least(15, "\xff")...),
		"longer integer":           fields(least(28, "\x81\x00")...),
		"zero integer":             fields(least(28, 0)...),
		"unknown reason":           fields(least(13, len(reasons))...),
		"unknown requirement":      fields(least(14, 1<<len(requirements))...),
		"allow of two":             fields(least(12, 2)...),
		"end of no stream":         fields(least(29, 1)...),
		"short pseudonym":          fields(least(9, "x")...),
		"jurisdiction":             fields(least(21, "ch")...),
		"consents of a refusal":    fields(least(31, id(0))...),
		"nine further consents":    fields(least(append([]any{12, 1}, nine...)...)...),
		"a consent twice":          fields(least(12, 1, 31, id(0), 31, id(0))...),
		"region":                   fields(append(least()[:10], 7, "Ch")...),
		"no place":                 fields(least()[2:]...),
		"version alone":            {1},
		"a tag that has no length": append(fields(least()...), 9),
	} {
		if e, err := ParseEntry(b); err == nil {
			t.Errorf("%s: was read as %+v", name, e)
		}
	}
}

// Whatever is read is what a program of the formats writes, and nothing makes a parser panic.
func FuzzEntry(f *testing.F) {
	f.Add(entry(3))
	f.Add(fields(least()...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := ParseEntry(b); err == nil && (e.Place == 0 || len(b) > MaxEntry) {
			t.Errorf("%x", b)
		}
	})
}

func FuzzReceipt(f *testing.F) {
	l := build(f, entries(3))
	f.Add(l.receipt(f, 1, 3))
	f.Add(slices.Concat(l.receipt(f, 0, 2), []byte("\n"), l.receipt(f, 2, 3)))
	f.Fuzz(func(t *testing.T, b []byte) {
		receipts, err := l.key.VerifyReceipts(b)
		for _, r := range receipts {
			if !bytes.Equal(r.Encoded, l.entries[r.Index]) {
				t.Errorf("%x is proved, and was never in the log", r.Encoded)
			}
		}
		if p, parseErr := parseReceipt(string(b)); err == nil && len(receipts) == 1 && (parseErr != nil || len(p.hashes) > 2) {
			t.Error("verified, and not read")
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	l := build(f, entries(3))
	f.Add(l.checkpoint(f, 3))
	f.Add([]byte(origin + "\n7\n" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := l.key.OpenCheckpoint(b); err == nil && c.Root != l.root(t, int(c.Size)) {
			t.Errorf("%q", b)
		}
		if c, err := parseCheckpoint(string(b)); err == nil {
			lines := append([]string{c.Origin, fmt.Sprint(c.Size), base64.StdEncoding.EncodeToString(c.Root[:])}, c.Extensions...)
			if strings.Join(lines, "\n")+"\n" != string(b) {
				t.Errorf("%q was read as %+v", b, c)
			}
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add("domicile.test/ch+00000000+AQAA")
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := ParseKey(text); err == nil && !strings.HasPrefix(text, k.Origin()+"+") {
			t.Errorf("%q", text)
		}
		if w, err := ParseWitness(text); err == nil && !strings.HasPrefix(text, w.Name()+"+") {
			t.Errorf("%q", text)
		}
	})
}

func FuzzBundle(f *testing.F) {
	f.Add([]byte("\x00\x01a\x00\x00\x00\x02bc"), 3)
	f.Fuzz(func(t *testing.T, b []byte, most int) {
		entries, rest := cutEntries(b, most%300)
		n := len(rest)
		for _, e := range entries {
			n += 2 + len(e)
		}
		if n != len(b) {
			t.Errorf("%d bytes of %d", n, len(b))
		}
		if f := wrongPlace("ch", tlog.Tile{H: 8, L: bundles, W: 256}, entries, nil); f != nil && f.Place > uint64(len(entries)) {
			t.Errorf("%d entries, %v", len(entries), f)
		}
	})
}
