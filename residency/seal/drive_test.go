package seal_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/seal"
	"pgregory.net/rapid"
)

func TestSegmentsComeBack(t *testing.T) {
	dk, p := driveKeys(t, newVault(t), tenantA, drive1), driveData(tenantA)
	for _, n := range []int{0, 1, 15, 16, 17, 4096, seal.SegmentSize - 1, seal.SegmentSize} {
		plain := bytes.Repeat([]byte{0xa5, byte(n)}, n)[:n]
		for _, index := range []uint32{0, 1, math.MaxUint32} {
			before := []byte("before")
			sealed := must(dk.SealSegment(p, bytes.Clone(before), "chunk", index, plain))(t)
			if len(sealed) != len(before)+n+seal.SegmentOverhead || !bytes.HasPrefix(sealed, before) {
				t.Fatalf("%d bytes: sealed to %d", n, len(sealed))
			}
			if n >= 8 && bytes.Contains(sealed, plain[:8]) {
				t.Errorf("%d bytes: the plaintext is in the sealed segment", n)
			}
			got, err := dk.OpenSegment(p, bytes.Clone(before), "chunk", index, sealed[len(before):])
			if err != nil || !bytes.Equal(got[len(before):], plain) || !bytes.HasPrefix(got, before) {
				t.Errorf("%d bytes, segment %d: %d bytes, %v", n, index, len(got), err)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		chunk := rapid.StringN(1, 200, 200).Draw(t, "chunk")
		index := rapid.Uint32().Draw(t, "index")
		plain := rapid.SliceOfN(rapid.Byte(), 0, 1000).Draw(t, "plaintext")
		sealed, err := dk.SealSegment(p, nil, chunk, index, plain)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := dk.OpenSegment(p, nil, chunk, index, sealed); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%x, %v", got, err)
		}
	})
}

func TestNoOtherSegmentOpens(t *testing.T) {
	v := newVault(t)
	dk, p := driveKeys(t, v, tenantA, drive1), driveData(tenantA)
	sealed := must(dk.SealSegment(p, nil, "chunk", 1, []byte(canary)))(t)
	everyFlip(sealed, func(at int, b []byte) {
		_, err := dk.OpenSegment(p, nil, "chunk", 1, b)
		wantKind(t, err, residency.IntegrityFailure, fmt.Sprintf("bit %d flipped", at))
	})
	for n := range len(sealed) {
		_, err := dk.OpenSegment(p, nil, "chunk", 1, sealed[:n])
		wantKind(t, err, residency.IntegrityFailure, "cut short")
	}
	for name, open := range map[string]func() ([]byte, error){
		"longer than a segment": func() ([]byte, error) {
			return dk.OpenSegment(p, nil, "chunk", 1, append(bytes.Clone(sealed), make([]byte, seal.SegmentSize)...))
		},
		"another index": func() ([]byte, error) { return dk.OpenSegment(p, nil, "chunk", 2, sealed) },
		"another chunk": func() ([]byte, error) { return dk.OpenSegment(p, nil, "chunk2", 1, sealed) },
		"another drive": func() ([]byte, error) {
			return driveKeys(t, v, tenantA, drive2).OpenSegment(p, nil, "chunk", 1, sealed)
		},
		"another tenant's drive": func() ([]byte, error) {
			return driveKeys(t, v, tenantB, drive1).OpenSegment(driveData(tenantB), nil, "chunk", 1, sealed)
		},
	} {
		out, err := open()
		wantKind(t, err, residency.IntegrityFailure, name)
		if out != nil {
			t.Errorf("%s: gave %d bytes", name, len(out))
		}
	}
}

func TestSegmentBounds(t *testing.T) {
	dk, p := driveKeys(t, newVault(t), tenantA, drive1), driveData(tenantA)
	_, err := dk.SealSegment(p, nil, "chunk", 0, make([]byte, seal.SegmentSize+1))
	wantKind(t, err, residency.Internal, "a segment too long")
	for _, chunk := range []string{"", strings.Repeat("x", 201)} {
		_, err := dk.SealSegment(p, nil, chunk, 0, nil)
		wantKind(t, err, residency.Internal, "sealing a chunk with a bad name")
		_, err = dk.OpenSegment(p, nil, chunk, 0, make([]byte, 100))
		wantKind(t, err, residency.Internal, "opening a chunk with a bad name")
	}
}

// mixedRing has the data root of one ring and the drive root of another.
type mixedRing struct{ data, drive seal.Keyring }

func (r mixedRing) Wrap(c context.Context, root seal.Root, ad, key []byte) ([]byte, error) {
	return r.data.Wrap(c, root, ad, key)
}
func (r mixedRing) Unwrap(c context.Context, root seal.Root, ad, wrapped []byte) ([]byte, error) {
	return r.data.Unwrap(c, root, ad, wrapped)
}
func (r mixedRing) DriveRoot(c context.Context, info []byte) ([]byte, error) {
	return r.drive.DriveRoot(c, info)
}

// TestBothRootsAreNeeded: neither root alone opens a drive (clause drive-cipher).
func TestBothRootsAreNeeded(t *testing.T) {
	ring, other, keys, p := newRing(t), newRing(t), newMemoryKeys(), driveData(tenantA)
	sealed := must(driveKeys(t, seal.NewVault("ch", ring, keys, seal.Options{}), tenantA, drive1).
		SealSegment(p, nil, "chunk", 0, []byte(canary)))(t)

	v := seal.NewVault("ch", mixedRing{ring, other}, keys, seal.Options{})
	_, err := driveKeys(t, v, tenantA, drive1).OpenSegment(p, nil, "chunk", 0, sealed)
	wantKind(t, err, residency.IntegrityFailure, "without the drive root")

	v = seal.NewVault("ch", mixedRing{other, ring}, keys, seal.Options{})
	_, err = v.Tenant(ctx, tenantA)
	wantKind(t, err, residency.KeysUnavailable, "without the data root")
	v = seal.NewVault("ch", mixedRing{other, ring}, newMemoryKeys(), seal.Options{})
	_, err = driveKeys(t, v, tenantA, drive1).OpenSegment(p, nil, "chunk", 0, sealed)
	wantKind(t, err, residency.IntegrityFailure, "without the data root, under a new key")
}

// TestManyChunksAtOnce: chunks that share a place in the cache of expanded keys do not mix.
func TestManyChunksAtOnce(t *testing.T) {
	dk, p := driveKeys(t, newVault(t), tenantA, drive1), driveData(tenantA)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 100 {
				chunk, plain := fmt.Sprintf("chunk-%d", (g*7+i)%40), fmt.Appendf(nil, "%d %d", g, i)
				sealed, err := dk.SealSegment(p, nil, chunk, uint32(i), plain)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := dk.OpenSegment(p, nil, chunk, uint32(i), sealed); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%s: %q, %v", chunk, got, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestChunksInAnotherOrder: what a process expanded before makes no difference to what it seals.
func TestChunksInAnotherOrder(t *testing.T) {
	ring, keys, p := newRing(t), newMemoryKeys(), driveData(tenantA)
	here := driveKeys(t, seal.NewVault("ch", ring, keys, seal.Options{}), tenantA, drive1)
	there := driveKeys(t, seal.NewVault("ch", ring, keys, seal.Options{}), tenantA, drive1)
	sealed := make([][]byte, 40)
	for i := range sealed {
		sealed[i] = must(here.SealSegment(p, nil, fmt.Sprint("chunk-", i), 0, []byte(canary)))(t)
	}
	for i := range slices.Backward(sealed) {
		if _, err := there.OpenSegment(p, nil, fmt.Sprint("chunk-", i), 0, sealed[i]); err != nil {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
}

func TestSegmentAllocations(t *testing.T) {
	dk, p := driveKeys(t, newVault(t), tenantA, drive1), driveData(tenantA)
	plain := make([]byte, seal.SegmentSize)
	dst := make([]byte, 0, seal.SegmentSize+seal.SegmentOverhead)
	sealed := must(dk.SealSegment(p, nil, "chunk", 0, plain))(t)
	for name, f := range map[string]func(){
		"SealSegment": func() { _, _ = dk.SealSegment(p, dst, "chunk", 0, plain) },
		"OpenSegment": func() { _, _ = dk.OpenSegment(p, dst, "chunk", 0, sealed) },
	} {
		if n := testing.AllocsPerRun(50, f); n != 0 && !raceEnabled {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkSealSegment(b *testing.B) {
	dk, p := driveKeys(b, newVault(b), tenantA, drive1), driveData(tenantA)
	plain, dst := make([]byte, seal.SegmentSize), make([]byte, 0, seal.SegmentSize+seal.SegmentOverhead)
	b.SetBytes(seal.SegmentSize)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = dk.SealSegment(p, dst, "chunk", 0, plain)
	}
}

func BenchmarkOpenSegment(b *testing.B) {
	dk, p := driveKeys(b, newVault(b), tenantA, drive1), driveData(tenantA)
	sealed := must(dk.SealSegment(p, nil, "chunk", 0, make([]byte, seal.SegmentSize)))(b)
	dst := make([]byte, 0, seal.SegmentSize)
	b.SetBytes(seal.SegmentSize)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = dk.OpenSegment(p, dst, "chunk", 0, sealed)
	}
}

// BenchmarkSealSegmentNewChunk seals 4 KiB into a new chunk each time: the least favourable case.
func BenchmarkSealSegmentNewChunk(b *testing.B) {
	dk, p := driveKeys(b, newVault(b), tenantA, drive1), driveData(tenantA)
	plain, dst := make([]byte, 4096), make([]byte, 0, 4096+seal.SegmentOverhead)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		_, _ = dk.SealSegment(p, dst, fmt.Sprintf("chunk-%d", i), 0, plain)
	}
}
