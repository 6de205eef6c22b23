package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/domicile-project/domicile/residency/store"
)

// checkName refuses what store.Blobs does not allow as a name.
func checkName(name string) error {
	ok := len(name) > 0 && len(name) <= 200 && inAlphabet(name)
	for segment := range strings.SplitSeq(name, "/") {
		ok = ok && segment != ""
	}
	if !ok {
		return errors.New("store: an object's name has 1 to 200 bytes of [a-z0-9/-] and no empty segment")
	}
	return nil
}

func inAlphabet(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '/' || c == '-') {
			return false
		}
	}
	return true
}

// key is where an object is. Each / of its name is a full stop there: servers
// that keep objects as files cannot have both "a" and "a/b". The full stop sorts
// exactly where the / did, between - and 0, and is in no name.
func (b *Blobs) key(name string) string {
	return b.root + objectsKey + strings.ReplaceAll(name, "/", ".")
}

// name gives the name of the object under a key; false when the key is not one that key gives.
func (b *Blobs) name(key string) (string, bool) {
	rest, ok := strings.CutPrefix(key, b.root+objectsKey)
	name := strings.ReplaceAll(rest, ".", "/")
	return name, ok && !strings.Contains(rest, "/") && checkName(name) == nil
}

// List is store.Blobs. It may or may not see objects that come or go meanwhile.
func (b *Blobs) List(ctx context.Context, prefix string, yield func(name string) bool) error {
	if err := b.usable(ctx); err != nil {
		return err
	}
	if !inAlphabet(prefix) { // no name starts with it, though a key might
		return nil
	}
	l := &listing{blobs: b, ctx: ctx, prefix: b.key(prefix), yield: yield}
	err := b.try(ctx, l.run)
	if err == nil || l.final != nil {
		return l.final
	}
	return failed(ctx, "list", err)
}

// listing is one List.
type listing struct {
	blobs  *Blobs
	ctx    context.Context
	prefix string
	yield  func(string) bool

	last  string // the last key that was given
	final error  // what no repetition would change
}

// run lists what comes after the last key.
func (l *listing) run() error {
	owner := false
	opts := minio.ListObjectsOptions{
		Prefix: l.prefix, Recursive: true, StartAfter: l.last, MaxKeys: l.blobs.page, FetchOwner: &owner,
	}
	for o := range l.blobs.api.ListObjectsIter(l.ctx, l.blobs.bucket, opts) {
		if o.Err != nil {
			return o.Err
		}
		if l.final = l.blobs.usable(l.ctx); l.final != nil {
			return nil
		}
		if !l.give(o.Key) {
			return nil
		}
	}
	return l.ctx.Err() // the iteration ends without a word when the context does
}

// give passes a key's name on. It reports whether the listing goes on.
func (l *listing) give(key string) bool {
	if key <= l.last {
		l.final = fmt.Errorf("%w: the server does not list in ascending byte order", store.ErrUnavailable)
		return false
	}
	l.last = key
	name, ok := l.blobs.name(key)
	return !ok || l.yield(name)
}
