package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"google.golang.org/protobuf/types/known/timestamppb"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// testWitness cosigns as C2SP tlog-cosignature has it.
type testWitness struct {
	name string
	key  ed25519.PrivateKey
	time uint64
}

func newTestWitness(name string) testWitness {
	seed := sha256.Sum256([]byte(name))
	return testWitness{name, ed25519.NewKeyFromSeed(seed[:]), 1793664000}
}

func (w testWitness) public() []byte { return append([]byte{4}, w.key.Public().(ed25519.PublicKey)...) }

func (w testWitness) Name() string { return w.name }

func (w testWitness) KeyHash() uint32 {
	sum := sha256.Sum256(append([]byte(w.name+"\n"), w.public()...))
	return binary.BigEndian.Uint32(sum[:])
}

func (w testWitness) vkey() string {
	return fmt.Sprintf("%s+%08x+%s", w.name, w.KeyHash(), base64.StdEncoding.EncodeToString(w.public()))
}

func (w testWitness) Sign(text []byte) ([]byte, error) {
	sig := ed25519.Sign(w.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", w.time, text))
	return append(binary.BigEndian.AppendUint64(nil, w.time), sig...), nil
}

const cosignedTime = "2026-11-03T00:00:00Z"

// cosignedLog is a log whose checkpoint names three witnesses, of whom one has not signed, and is signed by a stranger too.
func cosignedLog(t *testing.T) (l auditLog, peer testWitness) {
	t.Helper()
	l = writeAuditLog(t)
	own, peer := newTestWitness("domicile.test/ch/witness/self"), newTestWitness("domicile.test/us/witness")
	absent, stranger := newTestWitness("witness.example/absent"), newTestWitness("witness.example/stranger")
	name := filepath.Join(l.dir, "checkpoint")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(b), "\n\n")
	text += fmt.Sprintf("\nwitness: self %s\nwitness: peer %s\nwitness: outside %s\n", own.vkey(), peer.vkey(), absent.vkey())
	skey, _, err := note.GenerateKey(strings.NewReader(strings.Repeat("a seed", 32)), "domicile.test/ch/ch-1")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: text}, signer, own, peer, stranger)
	if err != nil {
		t.Fatal(err)
	}
	writeTestFile(t, name, signed)
	return l, peer
}

// Who cosigned is told by name and kind and when, and so is whose signature was not verified.
func TestCosignersAreNamed(t *testing.T) {
	l, peer := cosignedLog(t)
	signed, err := os.ReadFile(filepath.Join(l.dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	checkpoint := checkpointText(&residencyv1.GetCheckpointResponse{
		Checkpoint: signed, VerifierKey: l.key, Size: 5, Pending: 2, SignTime: timestamppb.New(time.Date(2026, 11, 3, 0, 0, 1, 0, time.UTC)),
	})
	verified, _, code := try(t, "audit", "verify", "--key", l.key, "--log", l.dir)
	if code != exitOK {
		t.Fatalf("exit code %d\n%s", code, verified)
	}
	for name, text := range map[string]string{"checkpoint": checkpoint, "verify": verified} {
		for _, want := range []string{
			"domicile.test/ch/witness/self (self: the log's own operator) at " + cosignedTime,
			"domicile.test/us/witness (peer, by a key that the log names) at " + cosignedTime,
			"witness.example/absent (outside, by a key that the log names): the log names it, and it has not signed",
			"witness.example/stranger: its key is not known",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in\n%s", name, want, text)
			}
		}
	}
	if !strings.HasPrefix(checkpoint, "5 entries, 2 waiting; signed at 2026-11-03T00:00:01Z, cosigned\n") || !strings.HasSuffix(checkpoint, "the log's key is\n"+l.key) {
		t.Error(checkpoint)
	}
	out, _, _ := try(t, "audit", "verify", "--key", l.key, "--log", l.dir, "--witness", peer.vkey(), "-o", "json")
	var got verifiedLog
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if h := got.Head; !got.OK || h.Witness[0] != peer.name || h.Cosigned[0] != (cosigner{Name: peer.name, Kind: witnessGiven, Time: cosignedTime}) || len(h.Cosigned) != 2 || len(h.Unverified) != 2 {
		t.Errorf("%+v", h)
	}
}

// A checkpoint that nobody else has seen, or whose key the gateway does not know, says so.
func TestCheckpointWithoutCosigners(t *testing.T) {
	l := writeAuditLog(t)
	signed, err := os.ReadFile(l.earlier)
	if err != nil {
		t.Fatal(err)
	}
	if text := checkpointText(&residencyv1.GetCheckpointResponse{Checkpoint: signed, VerifierKey: l.key}); !strings.Contains(text, "by nobody but the log's own operator") {
		t.Error(text)
	}
	_, other := resigned(t, signed)
	if text := checkpointText(&residencyv1.GetCheckpointResponse{Checkpoint: signed, VerifierKey: other}); !strings.Contains(text, "cannot be told by the key that the gateway gives") {
		t.Error(text)
	}
}

// Programs are told of every failure by an object on the standard output, and by the exit code as before.
func TestVerifyFailuresInJSON(t *testing.T) {
	l := writeAuditLog(t)
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	for _, c := range []struct {
		args  []string
		where string
		says  string
		code  int
	}{
		{[]string{"audit", "verify", "--key", l.key}, "", "nothing to verify", exitUsage},
		{[]string{"audit", "verify", "--key", "x", l.receipt}, "", "--key", exitUsage},
		{[]string{"audit", "verify", "--key", l.key, nowhere}, nowhere, "1 of 1 not verified", exitError},
		{[]string{"audit", "verify", "--key", l.key, "--log", nowhere}, nowhere, "no such file", exitError},
		{[]string{"audit", "verify", "--key", l.key, "--log", filepath.Dir(l.dir)}, filepath.Dir(l.dir), "checkpoint", exitError},
		{[]string{"usage", "verify", "t", "--log", nowhere}, nowhere, "its public key is missing", exitUsage},
		{[]string{"usage", "verify", "t", "--key", l.key}, "the gateway", "go with --log", exitUsage},
		{[]string{"usage", "verify", "t"}, "the gateway", "no gateway serves", exitError},
	} {
		out, errs, code := try(t, append(c.args, "-o", "json")...)
		var got struct {
			OK    *bool  `json:"ok"`
			Error string `json:"error"`
			Where string `json:"where"`
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Errorf("%v: %v\n%s", c.args, err, out)
			continue
		}
		if got.OK == nil || *got.OK || got.Where != c.where || !strings.Contains(got.Error, c.says) || code != c.code || errs == "" {
			t.Errorf("%v: exit code %d, want %d; %+v\n%s", c.args, code, c.code, got, errs)
		}
	}
}

// A difference between what is billed and audited is a failure too, and is shown whole.
func TestUsageDifferencesInJSON(t *testing.T) {
	r, list := someUsage()
	r.Totals[1].Bytes++
	var out strings.Builder
	a := &app{flags: &commandLine{Output: "json"}, stdout: &out}
	err := a.tell("the gateway", a.printUsage(compared(t, r, list)))
	var got verifiedUsage
	if jsonErr := json.Unmarshal([]byte(out.String()), &got); jsonErr != nil || err == nil {
		t.Fatalf("%v, %v\n%s", jsonErr, err, out.String())
	}
	if got.OK || got.Verified || !strings.Contains(got.Error, "1 difference") || got.Where == "" || len(got.Differences) != 1 {
		t.Errorf("%+v", got)
	}
}

// receiptOf writes proofs of leaves of a log of two entries of one stream: its beginning, and its end.
func receiptOf(t *testing.T, leaves ...int64) (file string, key string) {
	t.Helper()
	entries := [][]byte{entryOf(1, 12, uint64(1)), entryOf(2, 12, uint64(1), 29, uint64(1))}
	for i, phase := range []byte{2, 3} { // field 4, whose one byte stands behind its tag and length
		at := strings.Index(string(entries[i]), "\x04\x01\x01\x05")
		entries[i][at+2] = phase
	}
	l := writeLog(t, "domicile.test/ch/ch-1", entries)
	hashes := hashesOf(t, entries)
	var b strings.Builder
	for n, leaf := range leaves {
		if n > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "c2sp.org/tlog-proof@v1\nextra %s\nindex %d\n", base64.StdEncoding.EncodeToString(entries[leaf]), leaf)
		fmt.Fprintf(&b, "%s\n\n%s", base64.StdEncoding.EncodeToString(hashes[1-leaf][:]), l.checkpointOf(t, "domicile.test/ch/ch-1", entries))
	}
	file = filepath.Join(t.TempDir(), "receipt")
	writeTestFile(t, file, []byte(b.String()))
	return file, l.key
}

// A file of several receipts of which one is damaged is not verified, and the one is named; where only the end of a stream is missing
// the file says less, and that is said.
func TestReceiptsThatAreNotWhole(t *testing.T) {
	file, key := receiptOf(t, 0, 1)
	if out, errs, code := try(t, "audit", "verify", "--key", key, file); code != exitOK || strings.Contains(out, "beginning alone") {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(b), "\n")
	second := len(lines) / 2
	for name, damaged := range map[string]string{
		"without its hash":   strings.Join(append(lines[:second+4:second+4], lines[second+5:]...), ""),
		"without its header": strings.Join(append(lines[:second+1:second+1], lines[second+2:]...), ""),
		"cut off":            string(b[:len(b)-30]),
		"cut off early":      strings.Join(lines[:second+2], ""),
	} {
		writeTestFile(t, file, []byte(damaged))
		out, errs, code := try(t, "audit", "verify", "--key", key, file)
		if code != exitError || !strings.Contains(out, "NOT VERIFIED: proof 2: ") {
			t.Errorf("%s: exit code %d\n%s%s", name, code, out, errs)
		}
	}
	file, key = receiptOf(t, 0)
	if out, errs, code := try(t, "audit", "verify", "--key", key, file); code != exitOK || !strings.Contains(out, "it proves the beginning alone") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}
