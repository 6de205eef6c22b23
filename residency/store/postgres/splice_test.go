package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// What is taken apart gives the entry of every place of its width again; what is
// not made of one varint is not taken apart.
func TestApart(t *testing.T) {
	for width := 1; width <= maxWidth; width++ {
		least, greatest := widthBounds(width)
		if widthOf(least) != width || widthOf(greatest) != width || width < maxWidth && widthOf(greatest+1) != width+1 {
			t.Fatalf("places of %d bytes are not %d to %d", width, least, greatest)
		}
		for _, name := range []string{"", "\x80", "\xff\xff", "name"} {
			build := func(place uint64) []byte { return varint(name, place) }
			before, after, ok := apart(build, width)
			if !ok {
				t.Fatalf("%q is not taken apart for %d bytes", name, width)
			}
			for _, place := range []uint64{least, least + 1, (least + greatest) / 2, greatest} {
				if whole := slices.Concat(before, binary.AppendUvarint(nil, place), after); !bytes.Equal(whole, build(place)) {
					t.Errorf("place %d: %x, want %x", place, whole, build(place))
				}
			}
		}
	}
	for name, build := range map[string]func(uint64) []byte{
		"a decimal":     func(place uint64) []byte { return decimal("it", place) },
		"no place":      func(uint64) []byte { return []byte("it") },
		"nothing":       func(uint64) []byte { return nil },
		"two places":    func(place uint64) []byte { return append(varint("it", place), varint("it", place)...) },
		"fixed 8 bytes": func(place uint64) []byte { return binary.BigEndian.AppendUint64(nil, place) },
		"a sum at the end": func(place uint64) []byte {
			return append(varint("it", place), byte(place))
		},
	} {
		for width := 1; width <= maxWidth; width++ {
			if width == 1 && name == "fixed 8 bytes" {
				continue // there the last of them is the varint
			}
			if before, after, ok := apart(build, width); ok {
				t.Errorf("%s: taken apart for %d bytes into %x and %x", name, width, before, after)
			}
		}
	}
}

// Entries are the same bytes whoever puts their place in, also where the width of
// places changes, and while several processes append.
func TestPlacesOfEveryWidth(t *testing.T) {
	s := sharedServer(t)
	for width := 1; width < maxWidth; width++ {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			location := s.location(t, RoleCluster)
			_, greatest := widthBounds(width)
			first := greatest - 2
			_, schema, _ := strings.Cut(location, "schema=")
			must(t, s.Exec("domicile", "domicile", fmt.Sprintf("update %s.head set last = %d", schema, first)))
			one, two := openAt(t, location), openAt(t, location)
			want := first
			for i := range 3 {
				for _, c := range []*Cluster{one, two} { // each has old news of how far the outbox is
					scope := store.Scope{Tenant: tenant(1)}
					must(t, c.Update(within(t, time.Minute), scope, func(tx store.Tx) error {
						must(t, tx.Append("a", func(place uint64) []byte { return varint("a", place) }))
						must(t, tx.Append("", func(place uint64) []byte { return varint("", place) }))
						must(t, tx.Append("b", func(place uint64) []byte { return varint(fmt.Sprint(i), place) }))
						return tx.Append("a", func(place uint64) []byte { return varint("z", place) })
					}))
					for n, name := range []string{"a", "", fmt.Sprint(i), "z"} {
						e, err := two.Entry(within(t, time.Minute), want+1+uint64(n))
						must(t, err)
						if !bytes.Equal(e, varint(name, want+1+uint64(n))) {
							t.Fatalf("place %d holds %q", want+1+uint64(n), e)
						}
					}
					want += 4
				}
			}
			checkIndex(t, one, first, want)
		})
	}
}

// checkIndex compares the rows that find entries with those that four entries per
// transaction make, named a, nothing, b and a.
func checkIndex(t *testing.T, c *Cluster, first, last uint64) {
	t.Helper()
	var a, b []byte
	for at := first; at < last; at += 4 {
		a = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(a, at+1), at+4)
		b = binary.BigEndian.AppendUint64(b, at+3)
	}
	must(t, c.View(within(t, time.Minute), store.Scope{Tenant: tenant(1)}, func(tx store.Tx) error {
		for id, want := range map[store.ID][]byte{"a": a, "b": b} {
			got, err := tx.Get(store.KindDecision, id)
			must(t, err)
			if !bytes.Equal(got, want) {
				t.Errorf("%s finds %x, want %x", id, got, want)
			}
		}
		return nil
	}))
}
