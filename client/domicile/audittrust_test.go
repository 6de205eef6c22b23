package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// resigned signs what a checkpoint says with another key, and gives that.
func resigned(t *testing.T, checkpoint []byte) (signed []byte, key string) {
	t.Helper()
	origin := firstLine(checkpoint)
	skey, key, err := note.GenerateKey(strings.NewReader(strings.Repeat("another ", 32)), origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(checkpoint), "\n\n")
	if signed, err = note.Sign(&note.Note{Text: text + "\n"}, signer); err != nil {
		t.Fatal(err)
	}
	return signed, key
}

// rotated is a log whose key was changed: what was kept of it before, its key before, and its key now.
func rotated(t *testing.T) (l keyedLog, earlier, former string) {
	t.Helper()
	l, w := smallReport(t)
	earlier = filepath.Join(t.TempDir(), "earlier")
	signed, former := resigned(t, l.checkpointOf(t, "domicile.test/ch/ch-1", w.entries[:20]))
	writeTestFile(t, earlier, signed)
	return l, earlier, former
}

// A log whose key was changed is compared with what the key before it signed, and is itself verified by its own alone.
func TestLogsWhoseKeyWasChanged(t *testing.T) {
	l, earlier, former := rotated(t)
	compare := []string{"--checkpoint", earlier, "--key", former}
	if out := reported(t, l.args(append(compare, "--month", "2026-11")...)...); !strings.Contains(out, "consistent with earlier checkpoints of 20 entries") || !strings.Contains(out, l.key) {
		t.Errorf("not compared, or another key is shown:\n%s", out)
	}
	refusedReport(t, exitError, l.args("--checkpoint", earlier, "--month", "2026-11")...)
	if out, errs, code := try(t, append([]string{"audit", "verify"}, l.args(compare...)...)...); code != exitOK || !strings.Contains(out, "checkpoints of 20 entries") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	swapped := []string{"--log", l.dir, "--key", former, "--key", l.key}
	for _, command := range [][]string{{"audit", "verify"}, {"audit", "report"}} {
		out, errs, code := try(t, append(command, swapped...)...)
		if code != exitError || !strings.Contains(errs, "a log's own key comes first") {
			t.Errorf("%v by a former key: exit code %d\n%s%s", command, code, out, errs)
		}
	}
}

// What is billed is compared with a log whose key was changed, and that with what was kept of it.
func TestUsageOfALogWhoseKeyWasChanged(t *testing.T) {
	l, earlier, former := rotated(t)
	c := &usageVerify{Log: l.dir, Key: []string{l.key, former}, Checkpoint: []string{earlier}, Pseudonym: strings.Repeat("0", 32)}
	r, _ := someUsage()
	r.ThroughPlace = 1
	read := func() error {
		source, err := c.source()
		if err != nil {
			return err
		}
		return source.read(&app{ctx: t.Context(), flags: &commandLine{}, stderr: os.Stderr}, nil, "t", newUsageSums(r))
	}
	if err := read(); err != nil {
		t.Error(err)
	}
	c.Key = c.Key[:1]
	if err := read(); err == nil || !strings.Contains(err.Error(), "no signature in it is by the key") {
		t.Errorf("without the former key: %v", err)
	}
	signed, err := os.ReadFile(earlier)
	if err != nil {
		t.Fatal(err)
	}
	forged := strings.Replace(string(signed), "\n20\n", "\n21\n", 1)
	writeTestFile(t, earlier, []byte(forged))
	if err := read(); err == nil {
		t.Error("a forged checkpoint was compared")
	}
}

// An export that the former key signed is brought up to date once both keys are given; the new one must have signed what comes.
func TestMirrorOfALogWhoseKeyWasChanged(t *testing.T) {
	m, whole := mirrored(t, 600, 1000)
	checkpoint, err := os.ReadFile(filepath.Join(m.dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	signed, former := resigned(t, checkpoint)
	if err := m.open(signed); err == nil || !strings.Contains(err.Error(), "give --key twice") {
		t.Errorf("by the key that the log has now: %v", err)
	}
	if m.keys, err = readKeysOfOne([]string{whole.key, former}); err != nil {
		t.Fatal(err)
	}
	if err := m.open(signed); err != nil {
		t.Fatal(err)
	}
	m.comes(t, whole, func(path string) bool { return path != "tile/0/000" && path != "tile/entries/000" }, nil)
	if err := m.compare(t.Context()); err != nil {
		t.Error(err)
	}
	if m.keys, err = readKeysOfOne([]string{former}); err != nil {
		t.Fatal(err)
	}
	if err := m.compare(t.Context()); err == nil || !strings.Contains(err.Error(), "give --key twice") {
		t.Errorf("by the former key alone: %v", err)
	}
}

// A first export is verified by a key that is given.
func TestFirstExportIsVerifiedByTheKey(t *testing.T) {
	_, whole := mirrored(t, 1, 300)
	for _, forged := range []bool{false, true} {
		m := &mirror{dir: t.TempDir()}
		var err error
		if m.keys, err = readKeysOfOne([]string{whole.key}); err != nil {
			t.Fatal(err)
		}
		if forged {
			writeTestFile(t, filepath.Join(whole.dir, "tile", "entries", "000"), []byte("forged"))
		}
		m.comes(t, whole, func(string) bool { return true }, nil)
		if err := m.compare(t.Context()); (err != nil) != forged {
			t.Errorf("forged is %v: %v", forged, err)
		}
	}
}

// What is given in the place of something else is named, and what is wanted there.
func TestMistakenFilesAreNamed(t *testing.T) {
	l := writeAuditLog(t)
	key := filepath.Join(filepath.Dir(l.dir), "key")
	for _, c := range []struct {
		says string
		code int
		args []string
	}{
		{"--key: " + key + " is the name of a file: write @" + key, exitUsage, []string{"verify", "--key", key, l.receipt}},
		{"--key: " + key + " is the name of a file: write @" + key, exitUsage, []string{"export", "ch", filepath.Join(t.TempDir(), "new"), "--key", key}},
		{"--witness: " + key + " is the name of a file: write @" + key, exitUsage, []string{"verify", "--key", l.key, "--witness", key, l.receipt}},
		{"it is a receipt", exitError, []string{"verify", "--key", l.key, "--log", l.dir, "--checkpoint", l.receipt}},
		{"wanted is a checkpoint", exitError, []string{"report", "--key", l.key, "--log", l.dir, "--checkpoint", l.receipt}},
		{"it is a log's key", exitError, []string{"verify", "--key", l.key, "--log", l.dir, "--checkpoint", key}},
		{"it is a checkpoint", exitError, []string{"verify", "--key", l.key, l.earlier}},
		{"wanted is a receipt", exitError, []string{"verify", "--key", l.key, "--log", l.dir, "--receipt", l.earlier}},
	} {
		out, errs, code := try(t, append([]string{"audit"}, c.args...)...)
		if code != c.code || !strings.Contains(out+errs, c.says) {
			t.Errorf("%v: exit code %d, want %d and %q\n%s%s", c.args, code, c.code, c.says, out, errs)
		}
	}
}
