package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// A client that others wrote after the same specifications reads the folder that is verified here, and its receipts: entry for
// entry the same. A log that is refused here it refuses too.
func TestClientOfOthersReadsTheLog(t *testing.T) {
	program := filepath.Join(t.TempDir(), "logreader")
	building := exec.Command("go", "build", "-C", "../../../tools/logreader", "-o", program, ".")
	if out, err := building.CombinedOutput(); err != nil {
		t.Fatalf("building tools/logreader: %v\n%s", err, out)
	}
	l := build(t, entries(66_000))
	root := t.TempDir()
	writeLog(t, l.serve(t), root)
	if r, f := verify(t, Dir(os.DirFS(root)), l.key, Options{}); f != nil || r.Verified != 66_000 {
		t.Fatalf("%d verified, %v", r.Verified, f)
	}
	receipt := filepath.Join(root, "receipt")
	if err := os.WriteFile(receipt, l.receipt(t, 1234, 65_999), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(root)))
	defer server.Close()
	_, vkey, err := note.GenerateKey(strings.NewReader(strings.Repeat("the log", 32)), origin)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	for _, e := range l.entries {
		sum.Write(binary.BigEndian.AppendUint32(nil, uint32(len(e))))
		sum.Write(e)
	}
	out, err := exec.Command(program, server.URL, vkey, receipt).CombinedOutput()
	if want := fmt.Sprintf("66000 entries, sha256 %x\n", sum.Sum(nil)); err != nil || string(out) != want {
		t.Errorf("%v\n%s, want\n%s", err, out, want)
	}
	bundle := filepath.Join(root, "tile/entries/007")
	b, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	b[1000] ^= 1
	if err := os.WriteFile(bundle, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, server.URL, vkey).CombinedOutput(); err == nil {
		t.Errorf("read a log with an entry edited: %s", out)
	}
}
