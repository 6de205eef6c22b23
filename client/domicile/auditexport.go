package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/audit/proof"
)

type auditExport struct {
	logArgs
	Dir string   `arg:"" name:"dir" help:"The folder to write. One that holds an earlier export is brought up to date, once the log has been found to contain it."`
	Key []string `sep:"none" placeholder:"KEY|@FILE" help:"The log's public key: what comes is verified by it. Repeat it for the keys before it, by which an earlier export was signed: the log's own key comes first. Without it an earlier export is compared by the key that the gateway gives, and a first one is not verified."`
}

// Run hands over a log. What an earlier export has is not fetched again.
func (c *auditExport) Run(a *app) error {
	keys, err := readKeysOfOne(c.Key)
	if err != nil {
		return err
	}
	if _, err := earlierExport(c.Dir); err != nil { // before anything is written there
		return err
	}
	unlock, err := lockFolder(c.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	earlier, err := earlierExport(c.Dir)
	if err != nil {
		return err
	}
	return a.call(func(g *client.Client) error {
		m := &mirror{dir: c.Dir, keys: keys, earlier: earlier != nil}
		if err := m.bring(a, g, c, earlier); err != nil {
			return err
		}
		return a.note(m.text())
	})
}

// bring makes the mirror that of the log as the gateway has it.
func (m *mirror) bring(a *app, g *client.Client, c *auditExport, earlier []byte) error {
	plan, err := m.ask(a, g, c)
	if err != nil {
		return err
	}
	if m.earlier {
		if err := m.open(earlier); err != nil {
			return err
		}
	}
	into := filepath.Join(m.dir, incoming)
	if err := os.RemoveAll(into); err != nil { // of an export that broke off
		return err
	}
	defer os.RemoveAll(into)
	req := &residencyv1.ExportLogRequest{Region: c.Region, Cluster: c.Cluster, FromSize: int64(m.old.Size)} //nolint:gosec // a log's size, below 2^62
	if m.files, err = a.fetchLog(g, req, plan, into); err != nil {
		return err
	}
	if len(m.keys) > 0 {
		if err := m.compare(a.ctx); err != nil {
			return err
		}
	}
	return m.install()
}

// ask asks for the newest checkpoint, where its key or its size is wanted: to compare by, and to say what is to come. nil = it was not.
func (m *mirror) ask(a *app, g *client.Client, c *auditExport) (*residencyv1.GetCheckpointResponse, error) {
	wantsKey := m.earlier && len(m.keys) == 0
	if !wantsKey && !isTerminal(a.stderr) {
		return nil, nil
	}
	r, err := g.Audit.GetCheckpoint(a.ctx, &residencyv1.GetCheckpointRequest{Region: c.Region, Cluster: c.Cluster})
	if err != nil || !wantsKey {
		return r, err
	}
	key, err := proof.ParseKey(r.GetVerifierKey())
	if err != nil {
		return nil, fmt.Errorf("what the gateway tells as the log's key is none: %w", err)
	}
	m.keys = logKeys{{key, r.GetVerifierKey()}}
	return r, nil
}

// earlierExport reads the checkpoint of the export that a folder holds, and refuses a folder that holds anything else.
func earlierExport(dir string) ([]byte, error) {
	there, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	there = slices.DeleteFunc(there, func(e fs.DirEntry) bool { return e.Name() == incoming || e.Name() == lockName })
	if len(there) == 0 {
		return nil, nil
	}
	checkpoint, err := readSmall(filepath.Join(dir, "checkpoint"), proof.MaxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not empty and holds no export of a log: name a folder that is empty or does not exist, or one that this command wrote", dir)
	}
	return checkpoint, err
}

// lockName is the file by which a folder is one export's.
const lockName = ".lock"

// lockFolder keeps other exports from a folder, which is made when there is none, until release is called or this process ends.
func lockFolder(dir string) (release func(), err error) {
	_, missing := os.Stat(dir)
	for name := filepath.Join(dir, lockName); ; {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("another audit export is writing to %s: wait until it has ended, or name another folder", dir)
			}
			return nil, fmt.Errorf("%s cannot be locked: %w", name, err)
		}
		if lockedIs(f, name) {
			return func() {
				os.Remove(name)
				if missing != nil {
					os.Remove(dir) // it stays when anything is in it
				}
				f.Close()
			}, nil
		}
		f.Close() // whoever had locked it has removed it since
	}
}

// lockedIs reports whether a file that was locked is still the one of that name.
func lockedIs(f *os.File, name string) bool {
	locked, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(name)
	return err == nil && os.SameFile(locked, there)
}

// logFile is the path of a file of a log, as C2SP tlog-tiles has them.
var logFile = regexp.MustCompile(`^(checkpoint|tile/(entries|[0-7])/(x[0-9]{3}/)*[0-9]{3}(\.p/[1-9][0-9]{0,2})?)$`)

// fetchLog writes the files of a log that a gateway hands over into a folder, and gives their paths, the checkpoint's last. What is
// to come is told on a terminal, when it is known.
func (a *app) fetchLog(g *client.Client, req *residencyv1.ExportLogRequest, plan *residencyv1.GetCheckpointResponse, dir string) ([]string, error) {
	p := newFetch(a, req, plan)
	defer p.bar.end()
	var paths []string
	err := g.ExportLog(a.ctx, req, func(path string, data []byte) error {
		switch {
		case !logFile.MatchString(path):
			return errors.New("the gateway names a file that is none of a log's")
		case len(paths) > 0 && paths[len(paths)-1] == "checkpoint":
			return errors.New("the gateway hands over more behind the checkpoint, which comes last")
		}
		name := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		paths = append(paths, path)
		if err := writeNew(name, data); err != nil {
			return err
		}
		p.came(len(data))
		return nil
	}, a.decided())
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 || paths[len(paths)-1] != "checkpoint" {
		return nil, errors.New("the log broke off: no checkpoint came at its end")
	}
	return paths, nil
}

// writeNew writes a file that must not be there.
func writeNew(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return errors.New("the gateway hands over a file of the log twice")
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// fetch tells people how far a log has come. On anything but a terminal it is silent.
type fetch struct {
	bar    *progress
	wanted int64 // files; 0 = it is not known
	files  int64 // that came
	bytes  int64 // that they have
}

// newFetch tells what is to come, as far as it is known, and that it is waited for.
func newFetch(a *app, req *residencyv1.ExportLogRequest, plan *residencyv1.GetCheckpointResponse) *fetch {
	f := &fetch{bar: newProgress(a.stderr, "", -1)}
	if plan != nil && f.bar.w != nil {
		f.wanted = filesOf(req.GetFromSize(), plan.GetSize())
		fmt.Fprintln(a.stderr, planText(req.GetFromSize(), plan, f.wanted))
	}
	f.bar.text("waiting for the gateway")
	return f
}

// planText says what is to come.
func planText(from int64, plan *residencyv1.GetCheckpointResponse, files int64) string {
	text := fmt.Sprintf("%d entries", plan.GetSize())
	if from > 0 {
		text += ", " + numberText(max(plan.GetSize()-from, 0)) + " of them new"
	}
	origin, _, _ := strings.Cut(plan.GetVerifierKey(), "+")
	return printable(fmt.Sprintf("fetching the log %s: %s, in about %s", origin, text, countText(files, "file")))
}

// came counts a file.
func (f *fetch) came(size int) {
	f.files++
	f.bytes += int64(size)
	f.bar.text(f.text())
}

func (f *fetch) text() string {
	of := ""
	if f.wanted > 0 {
		of = fmt.Sprintf(" of about %d", f.wanted)
	}
	return fmt.Sprintf("%d%s files of the log, %.1f MiB", f.files, of, float64(f.bytes)/(1<<20))
}

// filesOf is how many files hold what is behind so many entries of a log of a size, when no entry was dropped.
func filesOf(from, size int64) int64 {
	if size <= from {
		return 1
	}
	n := 1 + tilesOf(from, size) // the checkpoint and the bundles
	for level := 0; size>>(8*level) > 0; level++ {
		n += tilesOf(from>>(8*level), size>>(8*level))
	}
	return n
}

// tilesOf is how many tiles hold what is behind so many hashes of a level.
func tilesOf(from, hashes int64) int64 {
	return (hashes+entriesOfTile-1)/entriesOfTile - from/entriesOfTile
}
