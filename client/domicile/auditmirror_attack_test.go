package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mirrored gives a mirror of a log's first entries, and the log as it is by now.
func mirrored(t *testing.T, was, now int) (m *mirror, whole keyedLog) {
	t.Helper()
	var list [][]byte
	for i := range now {
		list = append(list, entryOf(i+1, 12, uint64(1)))
	}
	old := writeLog(t, "domicile.test/ch/ch-1", list[:was])
	whole = writeLog(t, "domicile.test/ch/ch-1", list)
	m = &mirror{dir: old.dir, earlier: true}
	var err error
	if m.keys, err = readKeysOfOne([]string{old.key}); err != nil {
		t.Fatal(err)
	}
	checkpoint, err := os.ReadFile(filepath.Join(old.dir, "checkpoint"))
	if err == nil {
		err = m.open(checkpoint)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m, whole
}

// comes puts into a mirror what a gateway sends: of the log what is wanted, and more.
func (m *mirror) comes(t *testing.T, whole keyedLog, wanted func(string) bool, more map[string][]byte) {
	t.Helper()
	take := func(path string, data []byte) {
		writeTestFile(t, filepath.Join(m.dir, incoming, filepath.FromSlash(path)), data)
		m.files = append(m.files, path)
	}
	for _, path := range logFiles(t, whole.dir) {
		data, err := os.ReadFile(filepath.Join(whole.dir, filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		if wanted(path) && path != "checkpoint" {
			take(path, data)
		}
	}
	for path, data := range more {
		take(path, data)
	}
	data, err := os.ReadFile(filepath.Join(whole.dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	take("checkpoint", data)
}

// logFiles lists a log's files.
func logFiles(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			path, _ := filepath.Rel(dir, name)
			paths = append(paths, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// What a mirror holds is evidence: nothing that a gateway hands over takes its place, or makes it go.
func TestMirrorKeepsWhatItHas(t *testing.T) {
	isNew := func(path string) bool {
		for _, old := range []string{"tile/entries/000", "tile/entries/001", "tile/0/000", "tile/0/001"} {
			if path == old {
				return false
			}
		}
		return true
	}
	for name, c := range map[string]struct {
		was, now int
		wanted   func(string) bool
		more     map[string][]byte
		says     string
	}{
		"as it should be": {600, 1000, isNew, nil, ""},
		"a forged bundle": {600, 1000, isNew, map[string][]byte{"tile/entries/000": bytes.Repeat([]byte("forged"), 100)}, "its tile/entries/000 is not the one"},
		"a forged tile":   {600, 1000, isNew, map[string][]byte{"tile/0/000": make([]byte, 8192)}, "its tile/0/000 is not the one"},
		"the same size":   {600, 600, func(string) bool { return false }, map[string][]byte{"tile/entries/001": []byte("x")}, "its tile/entries/001 is not the one"},
		"bundles withheld": {300, 1000, func(path string) bool {
			return path != "tile/0/000" && !strings.HasPrefix(path, "tile/entries/00") || strings.HasPrefix(path, "tile/entries/003")
		}, nil, "has not handed over"},
	} {
		t.Run(name, func(t *testing.T) {
			m, whole := mirrored(t, c.was, c.now)
			m.comes(t, whole, c.wanted, c.more)
			err := m.compare(t.Context())
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %q", err, c.says)
				}
				return
			}
			if err == nil {
				err = m.install()
			}
			if err != nil {
				t.Fatal(err)
			}
			out, errs, code := try(t, "audit", "verify", "--log", m.dir, "--key", whole.key)
			if code != exitOK || !strings.Contains(out, "1000 verified, 0 dropped") {
				t.Errorf("exit code %d\n%s%s", code, out, errs)
			}
		})
	}
}
