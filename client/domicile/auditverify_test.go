package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit/proof"
)

// auditLog is a small log in a folder, with what is kept of it.
type auditLog struct {
	dir, key, earlier string
	receipt           string
}

// entryOf makes an entry of a place with further fields, which stand in the order of their tags.
func entryOf(place int, further ...any) []byte {
	all := append([]any{1, uint64(place), 2, uint64(1793664000123456789), 3, "0123456789abcdef", 4, uint64(1), 5, "/residency.v1.RecordService/GetRecord",
		6, "spiffe://domicile.test/us/app-us", 7, "ch", 8, "zrh-1"}, further...)
	b := []byte{1}
	for i := 0; i < len(all); i += 2 {
		var v []byte
		switch x := all[i+1].(type) {
		case uint64:
			v = binary.AppendUvarint(nil, x)
		case string:
			v = []byte(x)
		}
		b = append(append(append(b, byte(all[i].(int))), byte(len(v))), v...)
	}
	return b
}

// writeAuditLog writes a log of five entries, a checkpoint of four and a receipt of the second in it.
func writeAuditLog(t *testing.T) auditLog {
	t.Helper()
	skey, vkey, err := note.GenerateKey(strings.NewReader(strings.Repeat("a seed", 32)), "domicile.test/ch/ch-1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	var bundle, tile []byte
	var hashes storedHashes
	for i := range 5 {
		e := entryOf(i+1, 13, uint64(5), 14, uint64(1), 15, "product/border", 21, "CH", 22, "US", 23, uint64(2), 24, uint64(1), 25, uint64(2), 27, uint64(5))
		if i == 1 {
			e = entryOf(i+1, 12, uint64(1), 15, "product/border", 19, "consent-1", 21, "CH", 22, "US", 23, uint64(2), 24, uint64(1), 25, uint64(2), 28, uint64(55))
		}
		more, err := tlog.StoredHashes(int64(i), e, hashes)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, more...)
		tile = append(tile, more[0][:]...)
		bundle = append(binary.BigEndian.AppendUint16(bundle, uint16(len(e))), e...)
	}
	sign := func(size int64) []byte {
		root, err := tlog.TreeHash(size, hashes)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("domicile.test/ch/ch-1\n%d\n%s\n", size, base64.StdEncoding.EncodeToString(root[:]))
		signed, err := note.Sign(&note.Note{Text: text}, signer)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	proved, err := tlog.ProveRecord(4, 1, hashes)
	if err != nil {
		t.Fatal(err)
	}
	length := int(binary.BigEndian.Uint16(bundle))
	second := bundle[2+length+2:]
	second = second[:binary.BigEndian.Uint16(bundle[2+length:])]
	receipt := fmt.Sprintf("c2sp.org/tlog-proof@v1\nextra %s\nindex 1\n", base64.StdEncoding.EncodeToString(second))
	for _, h := range proved {
		receipt += base64.StdEncoding.EncodeToString(h[:]) + "\n"
	}
	root := t.TempDir()
	l := auditLog{dir: filepath.Join(root, "log"), key: vkey, earlier: filepath.Join(root, "earlier"), receipt: filepath.Join(root, "receipt")}
	for name, data := range map[string][]byte{
		"log/checkpoint": sign(5), "log/tile/0/000.p/5": tile, "log/tile/entries/000.p/5": bundle,
		"earlier": sign(4), "receipt": append([]byte(receipt+"\n"), sign(4)...), "key": []byte(vkey + "\n"),
	} {
		writeTestFile(t, filepath.Join(root, filepath.FromSlash(name)), data)
	}
	return l
}

func writeTestFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

type storedHashes []tlog.Hash

func (s storedHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = s[x]
	}
	return out, nil
}

func TestAuditVerifyReceipt(t *testing.T) {
	l := writeAuditLog(t)
	for _, key := range []string{l.key, "@" + filepath.Join(filepath.Dir(l.dir), "key")} {
		out, errs, code := try(t, "audit", "verify", "--key", key, l.receipt)
		if code != exitOK || errs != "" {
			t.Fatalf("exit code %d\n%s%s", code, out, errs)
		}
		for _, want := range []string{
			": verified\n", "30313233-3435-3637-3839-616263646566", "2 of 4 in the log domicile.test/ch/ch-1", "ALLOWED", "product/border",
			"CH → US", "consent-1, as asserted by caller spiffe://domicile.test/us/app-us", "witness   self\n",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in\n%s", want, out)
			}
		}
	}
	b, err := os.ReadFile(l.receipt)
	if err != nil {
		t.Fatal(err)
	}
	writeTestFile(t, l.receipt+"2", []byte(strings.Replace(string(b), "index 1", "index 2", 1)))
	out, errs, code := try(t, "audit", "verify", "--key", l.key, l.receipt, l.receipt+"2", "-o", "json")
	var all receiptsFailure
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all.Receipts) != 2 {
		t.Fatalf("%v\n%s", err, out)
	}
	if all.OK || all.Where != l.receipt+"2" || all.Error != "1 of 2 not verified" {
		t.Errorf("%+v", all.verifyFailure)
	}
	got := all.Receipts
	if code != exitError || !got[0].Verified || got[1].Verified || !strings.Contains(got[1].Error, "not at this place") || !strings.Contains(errs, "1 of 2 not verified") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if p := got[0].Proofs[0]; p.Entry.Place != 2 || p.Entry.Bytes != 55 || p.Log.Size != 4 || p.Log.Witness[0] != "self" {
		t.Errorf("%+v", p)
	}
}

func TestAuditVerifyLog(t *testing.T) {
	l := writeAuditLog(t)
	server := httptest.NewServer(http.FileServer(http.Dir(l.dir)))
	defer server.Close()
	for _, log := range []string{l.dir, server.URL} {
		out, errs, code := try(t, "audit", "verify", "--key", l.key, "--log", log)
		if code != exitOK || errs != "" || !strings.Contains(out, "5 verified, 0 dropped") || !strings.Contains(out, "a cut-off tail would not be noticed") {
			t.Errorf("exit code %d\n%s%s", code, out, errs)
		}
	}
	out, errs, code := try(t, "audit", "verify", "--key", l.key, "--log", l.dir, "--checkpoint", l.earlier, "--receipt", l.receipt)
	if code != exitOK || errs != "" || !strings.Contains(out, "consistent with checkpoints of 4, 4 entries") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	bundle := filepath.Join(l.dir, "tile", "entries", "000.p", "5")
	b, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1]++
	writeTestFile(t, bundle, b)
	out, errs, code = try(t, "audit", "verify", "--key", l.key, "--log", l.dir, "-o", "json")
	var got verifiedLog
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if code != exitError || got.Verified || got.Fault == nil || got.Fault.Kind != "edited" || got.Fault.Place != 5 || !strings.Contains(errs, "edited at place 5 in tile/entries/000.p/5") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// What a key before the log's own had signed is verified by it still.
func TestAuditVerifyByFormerKeys(t *testing.T) {
	l := writeAuditLog(t)
	b, err := os.ReadFile(l.earlier)
	if err != nil {
		t.Fatal(err)
	}
	b, former := resigned(t, b)
	writeTestFile(t, l.earlier+"2", b)
	if out, errs, code := try(t, "audit", "verify", "--key", l.key, "--key", former, "--log", l.dir, "--checkpoint", l.earlier+"2"); code != exitOK {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if _, errs, code := try(t, "audit", "verify", "--key", l.key, "--log", l.dir, "--checkpoint", l.earlier+"2"); code == exitOK || !strings.Contains(errs, "no signature in it is by the key") {
		t.Errorf("without the former key: exit code %d\n%s", code, errs)
	}
	if out, errs, code := try(t, "audit", "verify", "--key", former, "--key", l.key, l.receipt); code != exitOK {
		t.Errorf("in any order: exit code %d\n%s%s", code, out, errs)
	}
	other := strings.Replace(former, "domicile.test/ch/ch-1", "domicile.test/us/us-1", 1)
	if _, _, code := try(t, "audit", "verify", "--key", l.key, "--key", other, l.receipt); code == exitOK {
		t.Error("keys of two logs were taken")
	}
}

func TestAuditVerifyMistakes(t *testing.T) {
	l := writeAuditLog(t)
	for _, test := range []struct {
		args, says string
		code       int
	}{
		{"audit verify", "--key", exitUsage},
		{"audit verify --key " + l.key, "nothing to verify", exitUsage},
		{"audit verify --key x " + l.receipt, "--key: the key is not of the form", exitUsage},
		{"audit verify --key @nowhere " + l.receipt, "nowhere", exitUsage},
		{"audit verify --key " + l.key + " --witness " + l.key + " " + l.receipt, "--witness: the key is not one of algorithm 4", exitUsage},
		{"audit verify --key " + l.key + " --checkpoint " + l.earlier + " " + l.receipt, "they go with --log", exitUsage},
		{"audit verify --key " + l.key + " --log " + l.dir + " " + l.receipt, "or --log", exitUsage},
		{"audit verify --key " + l.key + " --log nowhere", "nowhere", exitError},
		{"audit verify --key " + l.key + " --log " + filepath.Dir(l.dir), "checkpoint", exitError},
		{"audit verify --key " + l.key + " --log " + l.dir + " --checkpoint " + l.receipt, "checkpoint", exitError},
		{"audit verify --key " + strings.Replace(l.key, "+", "x+", 1) + " " + l.receipt, "hash is not that of its name", exitUsage},
	} {
		out, errs, code := try(t, strings.Fields(test.args)...)
		if code != test.code || !strings.Contains(errs, test.says) || out != "" {
			t.Errorf("%s: exit code %d, want %d and %q\n%s%s", test.args, code, test.code, test.says, out, errs)
		}
	}
}

// The verifier has names of its own for the numbers in entries. They are those of the product.
func TestVerifierNamesWhatTheProductNames(t *testing.T) {
	read := func(further ...any) proof.Entry {
		e, err := proof.ParseEntry(entryOf(1, further...))
		if err != nil {
			t.Error(further, err)
		}
		return e
	}
	same := func(got string, want fmt.Stringer) {
		if got != want.String() {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for i := residency.Kind(1); i < residency.NumKinds; i++ {
		same(read(13, uint64(i)).Reason, i)
	}
	for i := range residency.NumRequirements {
		same(read(14, uint64(1)<<i).Missing[0], residency.Requirement(i))
	}
	for i := residency.Action(1); i < residency.NumActions; i++ {
		same(read(23, uint64(i)).Action, i)
	}
	for i := residency.DataClass(1); i < residency.NumDataClasses; i++ {
		same(read(24, uint64(i)).DataClass, i)
	}
	for i := residency.Purpose(1); i < residency.NumPurposes; i++ {
		same(read(25, uint64(i)).Purpose, i)
	}
}
