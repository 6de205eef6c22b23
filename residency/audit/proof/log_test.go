package proof

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func verify(t *testing.T, s Source, key Key, o Options) (Report, *Fault) {
	t.Helper()
	r, err := VerifyLog(t.Context(), s, key, o)
	var f *Fault
	if err != nil && !errors.As(err, &f) {
		t.Fatalf("an error that is no fault: %v", err)
	}
	return r, f
}

// Logs of every shape verify: empty, one entry, tiles just full and just begun.
func TestEverySizeVerifies(t *testing.T) {
	all := entries(70_000)
	for _, size := range []int{0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 70_000} {
		l := build(t, all[:size])
		r, f := verify(t, l.serve(t), l.key, Options{Remembered: []Checkpoint{l.remembered(t, size/2), l.remembered(t, size)}})
		if f != nil || r.Verified != uint64(size) || r.Dropped != 0 || r.Caveat() != "" || r.Tiles != len(l.files) {
			t.Errorf("size %d: %d verified, %d dropped, %d tiles of %d, %q, %v", size, r.Verified, r.Dropped, r.Tiles, len(l.files), r.Caveat(), f)
		}
	}
}

// Entries whose time was over are missing as whole bundles, from the first on; a gap is a fault.
func TestDroppedEntries(t *testing.T) {
	l := build(t, entries(1000))
	s := l.serve(t)
	s.gone["tile/entries/000"], s.gone["tile/entries/001"] = true, true
	r, f := verify(t, s, l.key, Options{})
	if f != nil || r.Dropped != 512 || r.Verified != 488 {
		t.Errorf("%d dropped, %d verified, %v", r.Dropped, r.Verified, f)
	}
	s = l.serve(t)
	s.gone["tile/entries/001"] = true
	if _, f = verify(t, s, l.key, Options{}); f == nil || f.Kind != Missing || f.Place != 257 || f.Path != "tile/entries/001" {
		t.Errorf("a gap: %v", f)
	}
	s = l.serve(t)
	for n := range 3 {
		s.gone[fmt.Sprintf("tile/entries/%03d", n)] = true
	}
	if r, f = verify(t, s, l.key, Options{}); f != nil || r.Dropped != 768 || r.Verified != 232 {
		t.Errorf("all full bundles: %d dropped, %d verified, %v", r.Dropped, r.Verified, f)
	}
	s.gone["tile/entries/003.p/232"] = true
	if _, f = verify(t, s, l.key, Options{}); f == nil || f.Kind != Missing || f.Place != 769 || f.Path != "tile/entries/003.p/232" {
		t.Errorf("a bundle that was not full: %v", f)
	}
	s = l.serve(t)
	s.gone["tile/0/001"] = true
	if _, f = verify(t, s, l.key, Options{}); f == nil || f.Kind != Missing || f.Path != "tile/0/001" {
		t.Errorf("a missing tile: %v", f)
	}
}

// A file that was not full may have been replaced by the full one that it became.
func TestGrownTilesServe(t *testing.T) {
	later := build(t, entries(1024))
	earlier := build(t, entries(1000))
	s := later.serve(t)
	s.checkpoint = earlier.checkpoint(t, 1000)
	s.tiles["tile/1/000.p/3"] = earlier.files["tile/1/000.p/3"]
	if r, f := verify(t, s, later.key, Options{}); f != nil || r.Verified != 1000 {
		t.Errorf("%d verified, %v", r.Verified, f)
	}
}

// change is a way to falsify a log at a place, and what is to be found then.
type change struct {
	name  string
	do    func(s *served, place int)
	kind  FaultKind
	place func(place int) int

	// lastTile is found in the last tile, whose hashes go into the root itself: nothing above it says which place it is.
	lastTile FaultKind
}

func here(place int) int { return place }

func firstOfTile(place int) int { return (place-1)/256*256 + 1 }

var changes = []change{
	{"an entry edited", editEntry, Edited, here, Edited},
	{"an entry dropped", func(s *served, place int) {
		s.at = func(i int) []byte {
			if i >= place-1 {
				i++
			}
			return s.entryAt(i)
		}
	}, Missing, here, Missing},
	{"an entry doubled", func(s *served, place int) {
		s.at = func(i int) []byte {
			if i >= place {
				i--
			}
			return s.entryAt(i)
		}
	}, Duplicated, func(place int) int { return place + 1 }, Duplicated},
	{"neighbours swapped", func(s *served, place int) {
		s.at = func(i int) []byte {
			switch i {
			case place - 1:
				i++
			case place:
				i--
			}
			return s.entryAt(i)
		}
	}, Swapped, here, Swapped},
	{"an entry put in", func(s *served, place int) {
		s.at = func(i int) []byte {
			switch {
			case i == place-1:
				return s.edited(place)
			case i >= place:
				i--
			}
			return s.entryAt(i)
		}
	}, "", here, ""}, // inserted, or edited where what belongs there is in the next bundle
	{"a hash edited", func(s *served, place int) { s.editHash(place, tlog.Hash{1}) }, BadTile, here, BadTile},
	{"an entry edited with its hash", func(s *served, place int) {
		editEntry(s, place)
		s.editHash(place, tlog.RecordHash(s.edited(place)))
	}, BadTile, firstOfTile, BadRoot},
	{"neighbours swapped with their hashes", func(s *served, place int) {
		place -= (place + 255) % 256 / 255 // in one bundle, which is then right but for the places
		s.at = func(i int) []byte {
			switch i {
			case place - 1:
				i++
			case place:
				i--
			}
			return s.entryAt(i)
		}
		s.editHash(place, tlog.RecordHash(s.entries[place]))
		s.editHash(place+1, tlog.RecordHash(s.entries[place-1]))
	}, Swapped, func(place int) int { return place - (place+255)%256/255 }, Swapped},
}

func editEntry(s *served, place int) {
	s.at = func(i int) []byte {
		if i == place-1 {
			return s.edited(place)
		}
		return s.entryAt(i)
	}
}

// edited gives the entry of a place with its purpose changed: an entry still, but another.
func (l *builtLog) edited(place int) []byte {
	e := []byte(strings.Replace(string(l.entries[place-1]), "\x19\x01\x02", "\x19\x01\x03", 1))
	if string(e) == string(l.entries[place-1]) {
		panic("no purpose to change")
	}
	return e
}

func (s *served) editHash(place int, h tlog.Hash) {
	path := s.tileOf(place)
	data, ok := s.tiles[path]
	if !ok {
		data = append([]byte(nil), s.files[path]...)
	}
	copy(data[(place-1)%256*32:], h[:])
	s.tiles[path] = data
}

func (s *served) tileOf(place int) string {
	n := int64(place-1) / 256
	return pathOf(tlog.Tile{H: 8, N: n, W: int(min(int64(len(s.entries))-n*256, 256))})
}

// Every falsification at every one of 1,000 random places is found, named and placed. Looking at the part of the log
// around the place alone runs the same code on the same path from the root to the entry; the first places
// are looked for in the whole log too, and found the same.
func TestFalsificationsAreFoundAndPlaced(t *testing.T) {
	l := build(t, greatEntries())
	signed := l.serve(t).checkpoint
	random := rand.New(rand.NewPCG(1, 2))
	places := []int{1, 255, 256, 257, 65_536, 65_537, 99_840, 99_841, logSize - 1}
	for len(places) < 1000 {
		places = append(places, 1+random.IntN(logSize-1))
	}
	for n, place := range places {
		for _, c := range changes {
			s := &served{builtLog: l, checkpoint: signed, at: l.entryAt, tiles: map[string][]byte{}}
			c.do(s, place)
			_, f := verify(t, s, l.key, Options{First: uint64(place), Last: uint64(place + 1)})
			if !c.found(f, place) {
				t.Errorf("%s at place %d: %v", c.name, place, f)
			}
			if n >= 8 {
				continue
			}
			if _, whole := verify(t, s, l.key, Options{}); whole == nil || *whole != *f {
				t.Errorf("%s at place %d: in the whole log %v, in the part %v", c.name, place, whole, f)
			}
		}
	}
}

func (c change) found(f *Fault, place int) bool {
	if f != nil && c.lastTile == BadRoot && place > logSize/256*256 {
		return f.Kind == BadRoot && f.Place == 0
	}
	if f == nil || f.Place != uint64(c.place(place)) {
		return false
	}
	if c.kind == "" {
		return f.Kind == Inserted || f.Kind == Edited && place%256 == 0
	}
	return f.Kind == c.kind
}

// rewrite makes a log in which an entry was edited and every hash above it, and gives the new root.
func (s *served) rewrite(t *testing.T, place int) tlog.Hash {
	t.Helper()
	editEntry(s, place)
	h := tlog.RecordHash(s.edited(place))
	index := int64(place - 1)
	for level := 0; len(s.entries)>>(8*level) > 0; level++ {
		width := min(int64(len(s.entries)>>(8*level))-index/256*256, 256)
		path := pathOf(tlog.Tile{H: 8, L: level, N: index / 256, W: int(width)})
		data := append([]byte(nil), s.files[path]...)
		copy(data[index%256*32:], h[:])
		s.tiles[path] = data
		if width < 256 {
			break
		}
		h, index = subtree(data), index/256
	}
	e := edgeOf(uint64(len(s.entries)))
	for i, tile := range e.tiles {
		e.data[i], _ = s.read(pathOf(tile))
	}
	root, err := tlog.TreeHash(int64(len(s.entries)), e)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// Who holds the log's key can write another log. It verifies in itself, and contradicts every checkpoint that is kept of the
// time after the change; without the key it does not even verify.
func TestForksAreFoundByWhatIsKept(t *testing.T) {
	l := build(t, greatEntries())
	signed := l.serve(t).checkpoint
	kept := []Checkpoint{l.remembered(t, 1), l.remembered(t, 20_000), l.remembered(t, 65_536), l.remembered(t, 99_999), l.remembered(t, logSize)}
	random := rand.New(rand.NewPCG(3, 4))
	for n := range 1000 {
		place := 1 + random.IntN(logSize)
		s := &served{builtLog: l, checkpoint: signed, at: l.entryAt, tiles: map[string][]byte{}}
		root := s.rewrite(t, place)
		part := Options{First: uint64(place), Last: uint64(place)}
		if n < 20 {
			if _, f := verify(t, s, l.key, part); f == nil || f.Kind != BadRoot {
				t.Errorf("place %d, not signed again: %v", place, f)
			}
		}
		s.checkpoint = sign(t, logSize, root, l.signer)
		r, f := verify(t, s, l.key, part)
		if f != nil || r.Caveat() == "" {
			t.Errorf("place %d, signed again: %v, %q", place, f, r.Caveat())
		}
		for _, old := range kept {
			part.Remembered = []Checkpoint{old}
			_, f := verify(t, s, l.key, part)
			if found := f != nil && f.Kind == Forked; found != (uint64(place) <= old.Size) || !found && f != nil {
				t.Errorf("place %d, with a checkpoint of %d: %v", place, old.Size, f)
			}
		}
	}
}

// An operator who makes the tree of a dropped, doubled or swapped entry is found out by the places in the entries.
func TestRebuiltLogsAreFoundByPlaces(t *testing.T) {
	right := entries(3000)
	for _, c := range changes[:4] {
		if c.kind == Edited {
			continue // is a fork, and nothing else shows it
		}
		for _, place := range []int{1, 255, 256, 257, 2000} {
			s := build(t, right).serve(t)
			c.do(s, place)
			var wrong [][]byte
			for i := range right {
				if e := s.at(i); e != nil {
					wrong = append(wrong, e)
				}
			}
			l := build(t, wrong)
			_, f := verify(t, l.serve(t), l.key, Options{})
			border := c.kind == Swapped && place == 256 // the other one is in the next bundle
			if f == nil || f.Place != uint64(c.place(place)) || f.Kind != c.kind && !(border && f.Kind == Missing) {
				t.Errorf("%s at place %d and signed: %v", c.name, place, f)
			}
		}
	}
}

// A log whose end was cut off, with a checkpoint of the state before, is right in itself. Whoever has a later checkpoint, or a
// receipt with one, sees it.
func TestCutOffTails(t *testing.T) {
	l := build(t, entries(5000))
	receipts, err := l.key.VerifyReceipts(l.receipt(t, 100, 4700))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 256, 4600, 4608, 4699} {
		cut := build(t, l.entries[:size])
		r, f := verify(t, cut.serve(t), l.key, Options{})
		if f != nil || !strings.Contains(r.Caveat(), "a cut-off tail would not be noticed") {
			t.Errorf("cut to %d, nothing kept: %v, %q", size, f, r.Caveat())
		}
		for _, kept := range []Checkpoint{l.remembered(t, 5000), receipts[0].Checkpoint} {
			if _, f = verify(t, cut.serve(t), l.key, Options{Remembered: []Checkpoint{kept}}); f == nil || f.Kind != CutOff || f.Place != uint64(size+1) {
				t.Errorf("cut to %d, %d kept: %v", size, kept.Size, f)
			}
		}
	}
	// The files cut off under the checkpoint that they had are missing.
	s := l.serve(t)
	s.at = func(i int) []byte {
		if i < 4990 {
			return l.entryAt(i)
		}
		return nil
	}
	if _, f := verify(t, s, l.key, Options{}); f == nil || f.Kind != Missing || f.Place != 4991 {
		t.Errorf("the last bundle cut: %v", f)
	}
}

// The great log verifies; how long it takes is printed.
func TestGreatLogVerifies(t *testing.T) {
	l := build(t, greatEntries())
	root := t.TempDir()
	writeLog(t, l.serve(t), root)
	var bytes int
	for _, e := range l.entries {
		bytes += len(e)
	}
	start := time.Now()
	r, f := verify(t, Dir(os.DirFS(root)), l.key, Options{})
	if f != nil || r.Verified != logSize || r.Tiles != len(l.files) {
		t.Fatalf("%d verified, %v", r.Verified, f)
	}
	t.Logf("%d entries of %d bytes on average in a folder verified in %s", logSize, bytes/logSize, time.Since(start).Round(time.Millisecond))
}

// writeLog writes a log into a folder.
func writeLog(t *testing.T, s *served, root string) {
	t.Helper()
	write := func(path string) {
		data, _ := s.read(path)
		name := filepath.Join(root, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path := range s.files {
		write(path)
	}
	for path := range s.bundles {
		write(path)
	}
	write("checkpoint")
}

// Over HTTP a log reads the same; an answer that is neither a file nor its absence is no verdict.
func TestLogOverHTTP(t *testing.T) {
	l := build(t, entries(1000))
	root := t.TempDir()
	writeLog(t, l.serve(t), root)
	files := http.FileServer(http.Dir(root))
	failing := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if failing != "" && strings.HasSuffix(r.URL.Path, failing) {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		http.StripPrefix("/log", files).ServeHTTP(w, r)
	}))
	defer server.Close()
	src := HTTP(server.Client(), server.URL+"/log/")
	if r, f := verify(t, src, l.key, Options{}); f != nil || r.Verified != 1000 {
		t.Errorf("%d verified, %v", r.Verified, f)
	}
	failing = "tile/entries/001"
	var f *Fault
	if _, err := VerifyLog(t.Context(), src, l.key, Options{}); err == nil || errors.As(err, &f) || !strings.Contains(err.Error(), "503") {
		t.Errorf("a server that fails: %v", err)
	}
	failing = ""
	if err := os.Remove(filepath.Join(root, "tile/entries/001")); err != nil {
		t.Fatal(err)
	}
	if _, f := verify(t, src, l.key, Options{}); f == nil || f.Kind != Missing || f.Place != 257 {
		t.Errorf("a file that is missing: %v", f)
	}
}

// A part beyond the log is a mistake of who asks, not a fault of the log.
func TestParts(t *testing.T) {
	l := build(t, entries(1000))
	r, f := verify(t, l.serve(t), l.key, Options{First: 300, Last: 600})
	if f != nil || r.Verified != 512 || r.First != 300 || r.Last != 600 {
		t.Errorf("%+v, %v", r, f)
	}
	var fault *Fault
	if _, err := VerifyLog(t.Context(), l.serve(t), l.key, Options{First: 1001}); err == nil || errors.As(err, &fault) {
		t.Errorf("a part beyond the log: %v", err)
	}
}

// Swapped whole bundles and tiles are found at their first entry.
func TestSwappedFiles(t *testing.T) {
	l := build(t, entries(2000))
	for _, level := range []string{"0", "entries"} {
		s := l.serve(t)
		a, b := fmt.Sprintf("tile/%s/002", level), fmt.Sprintf("tile/%s/003", level)
		s.bundles = map[string]int{}
		for path, first := range l.bundles {
			s.bundles[path] = first
		}
		if level == "0" {
			s.tiles[a], s.tiles[b] = s.files[b], s.files[a]
		} else {
			s.bundles[a], s.bundles[b] = s.bundles[b], s.bundles[a]
		}
		if _, f := verify(t, s, l.key, Options{}); f == nil || f.Place != 513 || f.Path != a {
			t.Errorf("%s: %v", level, f)
		}
	}
}

// An entry is of the region that the log's origin names: what was put into another region's log and signed there does not verify,
// neither in the log nor by a receipt.
func TestEntriesOfAnotherRegion(t *testing.T) {
	all := entries(600)
	all[511] = []byte(strings.Replace(string(all[511]), "\x07\x02ch", "\x07\x02us", 1))
	l := build(t, all)
	if _, f := verify(t, l.serve(t), l.key, Options{}); f == nil || f.Kind != Foreign || f.Place != 512 || f.Path != "tile/entries/001" || !strings.Contains(f.Detail, "of region us") {
		t.Errorf("%v", f)
	}
	if _, f := verify(t, l.serve(t), l.key, Options{Last: 256}); f != nil {
		t.Errorf("in the bundle before: %v", f)
	}
	if _, err := l.key.VerifyReceipts(l.receipt(t, 511, 600)); err == nil || !strings.Contains(err.Error(), "of region us") {
		t.Errorf("its receipt: %v", err)
	}
	if _, err := l.key.VerifyReceipts(l.receipt(t, 510, 600)); err != nil {
		t.Errorf("the receipt of the entry before: %v", err)
	}
}

// The key of a log has a name that says the region.
func TestKeysNameTheirRegion(t *testing.T) {
	for name, want := range map[string]string{
		"example.org/ch/ch-1": "ch", "example.org/audit/us-east/1": "us-east", "a/b/c/d": "c",
		"example.org": "", "example.org/ch-1": "", "example.org/ch/": "", "example.org//ch-1": "", "/ch/ch-1": "", "example.org/CH/ch-1": "",
		"example.org/-ch/ch-1": "", "example.org/c.h/ch-1": "", "example.org/ch/ch-1/": "",
	} {
		_, vkey, err := note.GenerateKey(strings.NewReader(strings.Repeat("a seed", 32)), name)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ParseKey(vkey)
		if key.Region() != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v, want %q", name, key.Region(), err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "ends in /REGION/CLUSTER") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
