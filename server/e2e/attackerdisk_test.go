package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"iter"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// eachFile reads every file below a folder.
func eachFile(t *testing.T, folder string, do func(path string, b []byte)) {
	t.Helper()
	for path := range filesBelow(t, folder) {
		b, err := os.ReadFile(path)
		if err == nil {
			do(strings.TrimPrefix(path, folder+"/"), b)
		} else if ignoreGone(err) != nil {
			t.Fatal(err)
		}
	}
}

// filesWith gives the files below a folder that hold any of some bytes.
func filesWith(t *testing.T, folder string, any ...[]byte) (found []string) {
	t.Helper()
	eachFile(t, folder, func(path string, b []byte) {
		if slices.ContainsFunc(any, func(piece []byte) bool { return bytes.Contains(b, piece) }) {
			found = append(found, path)
		}
	})
	return found
}

// places gives where some bytes stand in others.
func places(in, what []byte) iter.Seq[int] {
	return func(yield func(int) bool) {
		for from := 0; ; {
			at := bytes.Index(in[from:], what)
			if at < 0 || !yield(from+at) {
				return
			}
			from += at + 1
		}
	}
}

// wrapped are keys as the key store had them, which were destroyed since.
type wrapped struct {
	pairs []pair
	under map[string][]byte // by the key's name: what it was wrapped under
	bound map[string][]byte // and bound to
}

// destroyed gives the wrapped keys that go with a subject of one tenant and with another tenant as a whole.
func (a *attacker) destroyed(t *testing.T, tenant, subject, whole string) wrapped {
	t.Helper()
	w := wrapped{under: map[string][]byte{}, bound: map[string][]byte{}}
	of := func(name string) []byte { return h16(a.macs["the directory's key"], "tenant\x00"+name) }
	for _, s := range a.tenants {
		who := "tenant " + hex.EncodeToString(s.tenant[:4])
		id := h16(a.macs[who+"'s index key"], text("subject", subject))
		for _, p := range a.keys {
			name := p.key[1:]
			switch {
			case p.key[0] != 'k' || !bytes.HasPrefix(name, s.tenant):
			case len(name) == 17 && bytes.Equal(s.tenant, of(whole)):
				w.add(p, a.macs["the root's wrap key"], a.binding(1, s.tenant, 0, nil, 0))
			case len(name) > 17 && (bytes.Equal(s.tenant, of(whole)) || bytes.Equal(s.tenant, of(tenant)) && bytes.Equal(name[18:], id)):
				w.add(p, a.macs[who+"'s wrap key"], a.binding(uint64(name[16]), s.tenant, 0, name[18:], 0))
			}
		}
	}
	if len(w.pairs) < 4 { // the one, the other tenant, and its two
		t.Fatalf("of the keys to be destroyed %d are known", len(w.pairs))
	}
	return w
}

func (w *wrapped) add(p pair, under, bound []byte) {
	w.pairs = append(w.pairs, p)
	w.under[string(p.key)], w.bound[string(p.key)] = under, bound
}

// pieces cuts the wrapped keys into 16 bytes each, so that what is torn is found too.
func (w wrapped) pieces() (all [][]byte) {
	for _, p := range w.pairs {
		all = slices.AppendSeq(all, slices.Chunk(p.value[1:len(p.value)-len(p.value[1:])%16], 16))
	}
	return all
}

// carve tries to open the destroyed keys wherever they could begin in any file, by what they were wrapped under, as who has taken
// them from before the erasures would; it gives how many open.
func (a *attacker) carve(t *testing.T, gone wrapped) (n int) {
	t.Helper()
	eachFile(t, a.data, func(_ string, b []byte) {
		for _, p := range gone.pairs {
			size := len(p.value)
			for at := range places(b, []byte{1}) {
				if at+size <= len(b) && openGCM(gone.under[string(p.key)], gone.bound[string(p.key)], b[at+1:at+size]) != nil {
					n++
				}
			}
		}
	})
	return n
}

// contextBytes is how much of an entry must stand before or behind a pseudonym for it to be within that entry. The
// engine's log cuts what it writes in places, so one side is enough.
const contextBytes = 8

// around gives, of every entry that holds a pseudonym, what stands before and behind it.
func (x *exported) around(pseudonym []byte) (sides [][2][]byte) {
	for _, e := range x.raw {
		for at := range places(e, pseudonym) {
			end := at + len(pseudonym)
			sides = append(sides, [2][]byte{e[max(at-contextBytes, 0):at], e[end:min(end+contextBytes, len(e))]})
		}
	}
	return sides
}

// within reports whether a pseudonym stands within an entry.
func within(page []byte, at int, around [][2][]byte) bool {
	return slices.ContainsFunc(around, func(side [2][]byte) bool {
		return bytes.HasSuffix(page[:at], side[0]) || bytes.HasPrefix(page[at+16:], side[1])
	})
}

// unlinked looks for what leads from a person's identifier to their entries by way of what is stored under the names that rows about them
// have: a consent's id, a decision's, or the pseudonym itself where the engine's log has the two together. In the rows, and in the engine's
// files, there was such a way and is none any more.
func (a *attacker) unlinked(t *testing.T, was *attacker, person trail) {
	t.Helper()
	names := was.namesOf(person.name)
	if person.name == "s" && (len(was.links(names, person)) == 0 || len(remnants(t, was.data, names, person)) == 0) { // the others have no consent
		t.Error("no row led from the person to their entries, or no file: that none does later shows nothing")
	}
	for _, link := range a.links(names, person) {
		t.Errorf("a row under the person's name leads to their entries by %s id", link)
	}
	for path, n := range remnants(t, a.data, names, person) {
		t.Errorf("%s leads from %s to their entries at %d places", path, person.who, n)
	}
}

// links gives what the rows under some names have of the ids that a person's entries name.
func (a *attacker) links(names [][]byte, person trail) (all []string) {
	for _, p := range a.rows {
		row := slices.Concat(p.key, p.value)
		if !slices.ContainsFunc(names, func(name []byte) bool { return bytes.Contains(row, name) }) {
			continue
		}
		for id, what := range person.links {
			if bytes.Contains(row, []byte(id)) || bytes.Contains(row, inverted(id)) {
				all = append(all, what)
			}
		}
	}
	return all
}

// inverted is an id as rows have it that are read newest first.
func inverted(id string) []byte {
	b := []byte(id)
	for i := range b {
		b[i] = ^b[i]
	}
	return b
}

// remnants counts, by file, where what was deleted still leads from a person's names to their entries: by an id in the same row as
// a name, or by the pseudonym near one, as the engine's log has what was written together. Of a sorted file only what one row holds counts, deleted or
// not: what is beside it in the file means nothing.
func remnants(t *testing.T, data string, names [][]byte, person trail) map[string]int {
	t.Helper()
	const row, together = 64, 1024 // bytes
	found := map[string]int{}
	eachFile(t, data, func(path string, b []byte) {
		if strings.HasSuffix(path, ".sst") {
			if n, err := rowsWith(b, names, person); err == nil {
				if n > 0 {
					found[path] = n
				}
				return
			} // else it was not finished
		}
		for _, name := range names {
			for at := range places(b, name) {
				near := func(most int) []byte { return b[max(at-most, 0):min(at+16+most, len(b))] }
				if bytes.Contains(near(together), person.subject) || person.linkedIn(near(row)) {
					found[path]++
				}
			}
		}
	})
	return found
}

// linkedIn reports whether there is an id among some bytes that a person's entries name.
func (tr trail) linkedIn(b []byte) bool {
	for id := range tr.links {
		if bytes.Contains(b, []byte(id)) || bytes.Contains(b, inverted(id)) {
			return true
		}
	}
	return false
}

// rowsWith counts the rows of a sorted file, deleted or not, that have a name and what leads to a person's entries.
func rowsWith(file []byte, names [][]byte, person trail) (n int, err error) {
	fs := vfs.NewMem()
	f, err := fs.Create("table", vfs.WriteCategoryUnspecified)
	if err != nil {
		return 0, err
	}
	if _, err := f.Write(file); err != nil {
		return 0, err
	}
	if f, err = fs.Open("table"); err != nil {
		return 0, err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return 0, err
	}
	r, err := sstable.NewReader(context.Background(), readable, sstable.ReaderOptions{})
	if err != nil {
		return 0, err
	}
	defer r.Close()
	it, err := r.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return 0, err
	}
	defer it.Close()
	for kv := it.First(); kv != nil; kv = it.Next() {
		row := slices.Concat(kv.K.UserKey, kv.InPlaceValue())
		named := slices.ContainsFunc(names, func(name []byte) bool { return bytes.Contains(row, name) })
		if named && (bytes.Contains(row, person.subject) || person.linkedIn(row)) {
			n++
		}
	}
	return n, it.Error()
}
