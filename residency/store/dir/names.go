package dir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The kinds of entries in a shard's folder, by the beginning of their names.
const (
	objectMark = "o-"
	folderMark = "d-"
)

// checkName refuses what store.Blobs does not allow as a name. Nothing else can
// lead out of the folder or name two objects by one file.
func checkName(name string) error {
	ok := len(name) > 0 && len(name) <= 200
	for segment := range strings.SplitSeq(name, "/") {
		ok = ok && segment != ""
	}
	for i := 0; i < len(name) && ok; i++ {
		c := name[i]
		ok = 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '/' || c == '-'
	}
	if !ok {
		return errors.New("store: an object's name has 1 to 200 bytes of [a-z0-9/-] and no empty segment")
	}
	return nil
}

// shard names the folder that a segment's file or folder is in, so that no
// folder gets very large: the first two bytes of the segment.
func shard(segment string) string { return segment[:min(2, len(segment))] }

// path is where an object is: each segment but the last as a folder, the last
// as a file, each within its shard.
func (b *Blobs) path(name string) string {
	var p strings.Builder
	p.Grow(len(b.root) + len(objectsDir) + 2*len(name) + 16)
	p.WriteString(b.root)
	p.WriteString("/" + objectsDir)
	for {
		segment, rest, more := strings.Cut(name, "/")
		p.WriteByte('/')
		p.WriteString(shard(segment))
		p.WriteByte('/')
		if !more {
			p.WriteString(objectMark)
			p.WriteString(segment)
			return p.String()
		}
		p.WriteString(folderMark)
		p.WriteString(segment)
		name = rest
	}
}

// List is store.Blobs. It may or may not see objects that come or go meanwhile.
func (b *Blobs) List(ctx context.Context, prefix string, yield func(name string) bool) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	_, err := (&listing{ctx, b, prefix, yield}).folder(filepath.Join(b.root, objectsDir), "")
	return err
}

// listing walks the folders in the order of the names in them.
type listing struct {
	ctx    context.Context
	blobs  *Blobs
	prefix string
	yield  func(string) bool
}

// place is something within a folder; the names in it sort by key and, of two
// places in one folder, all names of the one come before all names of the other.
type place struct {
	key  string // what its names start with; an object's whole name
	path string
	is   func(*listing, place) (more bool, err error)
}

// folder lists the names in a folder, all of which start with name.
func (l *listing) folder(path, name string) (bool, error) {
	shards, err := entries(path)
	if err != nil {
		return false, err
	}
	var places []place
	for _, s := range shards {
		key, dir := name+s, filepath.Join(path, s)
		if len(s) > 1 {
			places = append(places, place{key, dir, (*listing).shard})
			continue
		}
		// A segment of one byte sorts apart from what is below it.
		inside, err := within(dir, name)
		if err != nil {
			return false, err
		}
		places = append(places, inside...)
	}
	return l.each(places)
}

// shard lists the names in a shard.
func (l *listing) shard(p place) (bool, error) {
	places, err := within(p.path, strings.TrimSuffix(p.key, filepath.Base(p.path)))
	if err != nil {
		return false, err
	}
	return l.each(places)
}

// within gives the objects and folders in a shard.
func within(path, name string) ([]place, error) {
	names, err := entries(path)
	if err != nil {
		return nil, err
	}
	places := make([]place, 0, len(names))
	for _, n := range names {
		if segment, ok := strings.CutPrefix(n, objectMark); ok {
			places = append(places, place{name + segment, "", (*listing).object})
		}
		if segment, ok := strings.CutPrefix(n, folderMark); ok {
			places = append(places, place{name + segment + "/", filepath.Join(path, n), (*listing).below})
		}
	}
	return places, nil
}

func (l *listing) below(p place) (bool, error) { return l.folder(p.path, p.key) }

func (l *listing) object(p place) (bool, error) { return l.yield(p.key), nil }

// each lists places in order, without those where no name can match.
func (l *listing) each(places []place) (bool, error) {
	slices.SortFunc(places, func(a, b place) int { return strings.Compare(a.key, b.key) })
	for _, p := range places {
		if !strings.HasPrefix(p.key, l.prefix) && (p.path == "" || !strings.HasPrefix(l.prefix, p.key)) {
			continue
		}
		if err := l.blobs.usable(l.ctx); err != nil {
			return false, err
		}
		if more, err := p.is(l, p); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

// entries gives the names in a folder; none when the folder is gone.
func entries(path string) ([]string, error) {
	d, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failed(err)
	}
	names, err := d.Readdirnames(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, failed(err)
	}
	return names, nil
}
