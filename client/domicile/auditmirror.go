package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/domicile-project/domicile/residency/audit/proof"
)

// What comes is in a folder of its own until it is whole and known to be right.
const incoming = ".incoming"

// mirror is a folder that is made to hold a log, or brought up to date.
type mirror struct {
	dir     string
	keys    logKeys          // none = what comes is not verified
	earlier bool             // it holds an export
	old     proof.Checkpoint // of that; of size 0 when there is none
	now     proof.Checkpoint // once compared
	files   []string         // that came, the checkpoint last
}

// keyChanged says what is to be given once the log has another key than an export was signed with.
const keyChanged = "if the log's key was changed, give --key twice: the key that it has now, then the one before"

// open reads what the earlier export is of.
func (m *mirror) open(checkpoint []byte) (err error) {
	if m.old, err = m.keys.checkpoint(checkpoint); err != nil {
		return fmt.Errorf("%s holds an export of another log, or of one with another key: %w; %s; else export into another folder", m.dir, err, keyChanged)
	}
	return nil
}

// compare holds what came, with what was there, against the new checkpoint, and that against the earlier one, if there is one.
func (m *mirror) compare(ctx context.Context) error {
	there, err := os.OpenRoot(m.dir)
	if err != nil {
		return err
	}
	defer there.Close()
	came, err := there.OpenRoot(incoming)
	if err != nil {
		return err
	}
	defer came.Close()
	src := both{proof.Dir(came.FS()), proof.Dir(there.FS())}
	signed, err := src.ReadFile(ctx, "checkpoint", proof.MaxCheckpoint)
	if err != nil {
		return err
	}
	if m.now, err = m.keys[0].OpenCheckpoint(signed); err != nil {
		return fmt.Errorf("what the gateway handed over was not taken: %w; %s", err, keyChanged)
	}
	if err := m.unchanged(came, there); err != nil {
		return err
	}
	options := proof.Options{First: min(m.old.Size/entriesOfTile*entriesOfTile+1, m.now.Size)}
	if m.earlier {
		options.Remembered = []proof.Checkpoint{m.old}
	}
	r, err := m.keys.verify(ctx, src, options)
	if err != nil {
		return fmt.Errorf("what the gateway handed over was not taken, and %s is as it was: %w", m.dir, err)
	}
	if m.earlier && r.Dropped > 0 {
		return fmt.Errorf("the gateway has not handed over %d entries behind those in %s: if they were dropped since, export into another folder; %s is as it was", r.Dropped, m.dir, m.dir)
	}
	return nil
}

// entriesOfTile is how many entries or hashes a full tile holds.
const entriesOfTile = 256

// unchanged holds that what came for the part of the log that is there already is what is there: that part is not verified again.
func (m *mirror) unchanged(came, there *os.Root) error {
	for _, path := range m.files[:len(m.files)-1] {
		level, end := tileEnd(path)
		if end > m.old.Size>>(8*level) {
			continue
		}
		is, err := came.ReadFile(filepath.FromSlash(path))
		if err != nil {
			return err
		}
		if was, err := there.ReadFile(filepath.FromSlash(path)); err != nil || !bytes.Equal(is, was) {
			return fmt.Errorf("what the gateway handed over was not taken: its %s is not the one that is in %s", path, m.dir)
		}
	}
	return nil
}

// tileEnd reads in a tile's path, which is of the form of logFile, its level, of bundles 0, and how many hashes of the level there are up to its end.
func tileEnd(path string) (level int, end uint64) {
	parts := strings.Split(path, "/")
	if parts[1] != "entries" {
		level, _ = strconv.Atoi(parts[1])
	}
	width, n := uint64(entriesOfTile), uint64(0)
	for i, part := range parts[2:] {
		if i > 0 && strings.HasSuffix(parts[1+i], ".p") {
			width, _ = strconv.ParseUint(part, 10, 16)
			break
		}
		digits, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(part, "x"), ".p"), 10, 16)
		n = n*1000 + digits
	}
	return level, n*entriesOfTile + width
}

// both is a log of which the newer files are in one place, and the others in another.
type both struct{ newer, older proof.Source }

func (b both) ReadFile(ctx context.Context, path string, most int) ([]byte, error) {
	data, err := b.newer.ReadFile(ctx, path, most)
	if errors.Is(err, fs.ErrNotExist) {
		return b.older.ReadFile(ctx, path, most)
	}
	return data, err
}

// install puts what came in its place: the checkpoint once all that it is of is durable, so that the
// folder holds one whole log or the other whenever it ends. What the new checkpoint has no use for goes last.
func (m *mirror) install() error {
	for _, path := range m.files[:len(m.files)-1] {
		if err := m.put(path); err != nil {
			return err
		}
	}
	if err := flush(m.dir); err != nil {
		return err
	}
	if err := m.put("checkpoint"); err != nil {
		return err
	}
	if err := m.prune(); err != nil {
		return err
	}
	return flush(m.dir)
}

func (m *mirror) put(path string) error {
	path = filepath.FromSlash(path)
	to := filepath.Join(m.dir, path)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.Rename(filepath.Join(m.dir, incoming, path), to)
}

// flush makes everything in the folder's file system durable.
func flush(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

// prune removes tiles that were not full and have grown since: whatever is of a partial tile that did not come.
func (m *mirror) prune() error {
	if m.now.Size == m.old.Size { // nothing has grown, and nothing else came
		return nil
	}
	came := make(map[string]bool, len(m.files))
	for _, path := range m.files {
		came[path] = true
	}
	var partial []string // the folders that hold tiles that are not full
	err := filepath.WalkDir(filepath.Join(m.dir, "tile"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || !strings.HasSuffix(name, ".p") {
			return err
		}
		partial = append(partial, name)
		return fs.SkipDir
	})
	for _, dir := range partial {
		if err == nil {
			err = m.pruneFolder(dir, came)
		}
	}
	return err
}

// pruneFolder removes what did not come, and the folder with it when that is all.
func (m *mirror) pruneFolder(dir string, came map[string]bool) error {
	widths, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	grown := false // what is to be removed is in a tile that is there
	for _, w := range widths {
		path, err := filepath.Rel(m.dir, filepath.Join(dir, w.Name()))
		grown = grown || err == nil && came[filepath.ToSlash(path)]
	}
	if _, err := os.Stat(strings.TrimSuffix(dir, ".p")); err != nil && !grown {
		return nil
	}
	left := len(widths)
	for _, w := range widths {
		name := filepath.Join(dir, w.Name())
		path, err := filepath.Rel(m.dir, name)
		if err == nil && !came[filepath.ToSlash(path)] {
			left--
			err = os.Remove(name)
		}
		if err != nil {
			return err
		}
	}
	if left == 0 {
		return os.Remove(dir)
	}
	return nil
}

func (m *mirror) text() string {
	files := countText(int64(len(m.files)), "file")
	switch {
	case !m.earlier && len(m.keys) == 0:
		return files + " of the log written to " + m.dir
	case !m.earlier:
		return fmt.Sprintf("%s of the log written to %s, verified: %d entries", files, m.dir, m.now.Size)
	}
	return fmt.Sprintf("%s of the log written to %s, which contains the earlier export: %d entries, %d of them new", files, m.dir, m.now.Size, m.now.Size-m.old.Size)
}
