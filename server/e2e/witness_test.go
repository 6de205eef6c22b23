package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/audit/proof"
)

// startWitness starts a witness that others wrote, for a log, and gives its public key and where it is.
func startWitness(t *testing.T, log string) (key, url string) {
	t.Helper()
	folder := t.TempDir()
	building := exec.Command("go", "build", "-C", "../../tools/outsidewitness", "-o", folder+"/", ".", "tool")
	if out, err := building.CombinedOutput(); err != nil {
		t.Fatalf("building tools/outsidewitness: %v\n%s", err, out)
	}
	address := freeAddress(t)
	c := exec.Command(filepath.Join(folder, "outsidewitness"), folder, "witness.example.org", address, log)
	var said syncBuffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Signal(os.Interrupt); _ = c.Wait() })
	vkey := regexp.MustCompile(`vkey=(\S+)`)
	for end := time.Now().Add(startLimit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if m := vkey.FindStringSubmatch(said.String()); m != nil && strings.Contains(said.String(), "listening") {
			return m[1], "http://" + address
		}
	}
	t.Fatalf("the witness did not start:\n%s", said.String())
	return "", ""
}

// logKey asks a gateway for the public key of its Swiss log.
func logKey(t *testing.T, d *daemon) string {
	t.Helper()
	c, err := d.dialOnce(t, "admin-ch").Audit.GetCheckpoint(t.Context(), &residencyv1.GetCheckpointRequest{Region: "ch"})
	if err != nil {
		t.Fatal(err)
	}
	return c.GetVerifierKey()
}

// receiptOf registers a tenant and gives the receipt of that.
func receiptOf(t *testing.T, d *daemon, tenant string) []byte {
	t.Helper()
	c := d.dialOnce(t, "admin-ch")
	var decision string
	_, err := c.Tenants.RegisterTenant(t.Context(), &residencyv1.RegisterTenantRequest{TenantId: tenant, Residence: "CH"}, client.DecisionID(&decision))
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Audit.GetReceipt(t.Context(), &residencyv1.GetReceiptRequest{TenantId: tenant, DecisionId: decision})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetReceipt()
}

// A witness that others wrote, of another operator, cosigns the log, and signs it no more when it was set back.
func TestWitnessOfOthers(t *testing.T) {
	data := t.TempDir()
	d := configured(t, printed(t, data))
	receiptOf(t, d, "before")
	log := logKey(t, d)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	witness, url := startWitness(t, log)
	witnessed := func(data string) *daemon {
		text := printed(t, data)
		at := fmt.Sprintf("    witnesses:\n    - {key: %q, url: %q}\n    keys: file:%s", witness, url, filepath.Join(data, "keys", "ch"))
		with := strings.Replace(text, "    keys: file:"+filepath.Join(data, "keys", "ch"), at, 1)
		if with == text {
			t.Fatalf("no keys of the Swiss region in\n%s", text)
		}
		return configured(t, with)
	}
	d = witnessed(data)
	key, err := proof.ParseKey(log)
	if err != nil {
		t.Fatal(err)
	}
	known, err := proof.ParseWitness(witness)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		got, err := key.VerifyReceipts(receiptOf(t, d, fmt.Sprint("tenant-", n)), known)
		if err != nil || len(got[0].Checkpoint.Cosigned) != 1 {
			t.Fatalf("%v, %+v\n%s", err, got, d.output.String())
		}
		time.Sleep(time.Second) // for another checkpoint
	}
	if n := witnessFailures(t, d); n != "0" && n != "" {
		t.Errorf("%s failures", n)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}

	again := t.TempDir() // all that is left of the log is its key
	seed, err := os.ReadFile(filepath.Join(data, "keys", "ch", "audit"))
	if err == nil {
		err = os.MkdirAll(filepath.Join(again, "keys", "ch"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(again, "keys", "ch", "audit"), seed, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	d = witnessed(again)
	receipt := receiptOf(t, d, "after")
	if _, err := key.VerifyReceipts(receipt); err != nil {
		t.Error(err)
	}
	if _, err := key.VerifyReceipts(receipt, known); err == nil || !strings.Contains(err.Error(), "not cosigned by witness.example.org") {
		t.Errorf("a log that was set back: %v", err)
	}
	if n := witnessFailures(t, d); n == "0" || n == "" {
		t.Errorf("%s failures are told", n)
	}
	if !bytes.Contains([]byte(d.output.String()), []byte("the log went back")) {
		t.Errorf("the log does not say so:\n%s", d.output.String())
	}
}

// witnessFailures reads the Swiss log's residency_witness_failures_total; "" when it is not told.
func witnessFailures(t *testing.T, d *daemon) string {
	t.Helper()
	resp, err := http.Get("http://" + d.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`residency_witness_failures_total\{region="ch"\} (\S+)`).FindSubmatch(b); m != nil {
		return string(m[1])
	}
	return ""
}

// cosigned waits for a checkpoint of the Swiss log that another region has signed too, and gives its size.
func cosigned(t *testing.T, d *daemon) uint64 {
	t.Helper()
	last := ""
	for end := time.Now().Add(startLimit); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		got, err := d.dialOnce(t, "admin-ch").Audit.GetCheckpoint(t.Context(), &residencyv1.GetCheckpointRequest{Region: "ch"})
		if err != nil {
			last = err.Error()
			continue
		}
		key, err := proof.ParseKey(got.GetVerifierKey())
		if err != nil {
			t.Fatal(err)
		}
		c, err := key.OpenCheckpoint(got.GetCheckpoint())
		if err == nil && len(c.Named) == 1 {
			return c.Size
		}
		last = fmt.Sprintf("%v\n%s", err, got.GetCheckpoint())
	}
	t.Fatalf("the log is not cosigned: %s\n%s", last, d.output.String())
	return 0
}

// After one region's stores were restored from a backup its witness signs no more, until people let it begin anew. What
// it knew is told and kept.
func TestForgetLogAfterRestore(t *testing.T) {
	data := t.TempDir()
	d, err := startIn(data)
	if err != nil {
		t.Fatal(err)
	}
	receiptOf(t, d, "before")
	early := cosigned(t, d)
	stop := func() {
		t.Helper()
		if err := d.stop(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	backup := copied(t, filepath.Join(data, "ch"))
	if err := d.launch(); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		receiptOf(t, d, fmt.Sprint("lost-", n))
	}
	late := cosigned(t, d)
	log := logKey(t, d)
	origin, _, _ := strings.Cut(log, "+")
	if out, err := domiciled("forget-log", origin, "--data", data); err == nil || !strings.Contains(out, "stop it first") {
		t.Errorf("while the gateway has the stores: %v\n%s", err, out)
	}
	stop()
	if err := os.RemoveAll(filepath.Join(data, "ch")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(data, "ch"), os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	if err := d.launch(); err != nil {
		t.Fatal(err)
	}
	receiptOf(t, d, "after")
	if n := witnessFailures(t, d); n == "0" || n == "" || late <= early {
		t.Errorf("%s failures are told, of %d entries after %d", n, late, early)
	}
	stop()
	for _, wrong := range []string{"", "ch", origin + "x"} {
		args := []string{"forget-log", "--data", data}
		if wrong != "" {
			args = append(args, wrong)
		}
		if out, err := domiciled(args...); err == nil || !strings.Contains(out, origin+" (by region us)") {
			t.Errorf("%q: %v\n%s", wrong, err, out)
		}
	}
	out, err := domiciled("forget-log", origin, "--data", data, "--region", "us")
	for _, want := range []string{"log        " + origin, "witness    domicile.local/us/witness", fmt.Sprintf("size       %d\n", late), "\n" + origin + "\n", "Tell whoever verifies", "level=WARN"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v: does not say %q:\n%s", err, want, out)
		}
	}
	if err := d.launch(); err != nil {
		t.Fatal(err)
	}
	d.stopWith(t)
	receiptOf(t, d, "again")
	cosigned(t, d)
	if n := witnessFailures(t, d); n != "0" && n != "" {
		t.Errorf("%s failures after it was forgotten", n)
	}
	if !strings.Contains(d.output.String(), "was forgotten is cosigned anew") {
		t.Errorf("the log does not say so:\n%s", d.output.String())
	}
}

// On servers a log is forgotten beside a gateway that serves.
func TestForgetLogWhileServing(t *testing.T) {
	d := startOnServers(t)
	receiptOf(t, d, "before")
	size := cosigned(t, d)
	origin, _, _ := strings.Cut(logKey(t, d), "+")
	out, err := domiciled(append([]string{"forget-log", origin}, d.args...)...)
	if err != nil || !strings.Contains(out, fmt.Sprintf("size       %d\n", size)) {
		t.Fatalf("%v\n%s", err, out)
	}
	receiptOf(t, d, "after")
	if now := cosigned(t, d); now <= size {
		t.Errorf("%d entries after %d", now, size)
	}
	if !strings.Contains(d.output.String(), "was forgotten is cosigned anew") {
		t.Errorf("the log does not say so:\n%s", d.output.String())
	}
}
