package seal_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
	"pgregory.net/rapid"
)

var record = subject1 + "record-000000001"

func TestRowsComeBack(t *testing.T) {
	v := newVault(t)
	tk, sk := tenantKeys(t, v, tenantA), subjectKeys(t, v, tenantA, subject1)
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "plaintext")
		version := rapid.Uint64().Draw(t, "version")
		id := store.ID(rapid.StringN(0, 64, 64).Draw(t, "id"))
		kind := store.Kind(rapid.Byte().Draw(t, "kind"))
		check := func(what string, sealed []byte, open func([]byte) ([]byte, uint64, error)) {
			got, v, err := open(sealed)
			if err != nil || v != version || !bytes.Equal(got, plain) || len(sealed) != len(plain)+seal.RowOverhead {
				t.Fatalf("%s: %x, version %d, %v", what, got, v, err)
			}
			if len(plain) >= 8 && bytes.Contains(sealed, plain) {
				t.Fatalf("%s: the plaintext is in the sealed row", what)
			}
		}
		p := personal(tenantA)
		sealed, err := sk.Seal(p, kind, id, version, plain)
		if err != nil {
			t.Fatal(err)
		}
		check("personal", sealed, func(b []byte) ([]byte, uint64, error) { return sk.Open(p, kind, id, b) })
		if kind != store.KindRecord {
			check("tenant's fact", tk.SealFact(kind, id, version, plain), func(b []byte) ([]byte, uint64, error) { return tk.OpenFact(kind, id, b) })
			check("subject's fact", sk.SealFact(kind, id, version, plain), func(b []byte) ([]byte, uint64, error) { return sk.OpenFact(kind, id, b) })
		}
	})
}

// TestNothingElseOpens: a row changed in any bit, cut anywhere, moved anywhere or
// taken for something else does not open.
func TestNothingElseOpens(t *testing.T) {
	ring, keys := newRing(t), newMemoryKeys()
	v := seal.NewVault("ch", ring, keys, seal.Options{})
	tk, sk := tenantKeys(t, v, tenantA), subjectKeys(t, v, tenantA, subject1)
	p := personal(tenantA)
	sealed := must(sk.Seal(p, store.KindRecord, record, 7, []byte(canary)))(t)
	fact := tk.SealFact(store.KindDrive, drive1, 7, []byte(canary))
	sfact := sk.SealFact(store.KindSubject, subject1, 7, []byte(canary))

	everyFlip(sealed, func(at int, b []byte) {
		_, _, err := sk.Open(p, store.KindRecord, record, b)
		wantKind(t, err, residency.IntegrityFailure, fmt.Sprintf("record, bit %d", at))
	})
	everyFlip(fact, func(at int, b []byte) {
		_, _, err := tk.OpenFact(store.KindDrive, drive1, b)
		wantKind(t, err, residency.IntegrityFailure, fmt.Sprintf("fact, bit %d", at))
	})
	for n := range len(sealed) {
		_, _, err := sk.Open(p, store.KindRecord, record, sealed[:n])
		wantKind(t, err, residency.IntegrityFailure, "cut short")
	}
	older := bytes.Clone(sealed)
	binary.BigEndian.PutUint64(older[1:], 6)
	_, _, err := sk.Open(p, store.KindRecord, record, older)
	wantKind(t, err, residency.IntegrityFailure, "another version in the header")
	_, _, err = sk.Open(p, store.KindRecord, record+"x", sealed)
	wantKind(t, err, residency.IntegrityFailure, "another id")
	_, _, err = sk.Open(p, store.KindLookup, record, sealed)
	wantKind(t, err, residency.IntegrityFailure, "another kind")
	_, _, err = subjectKeys(t, v, tenantA, subject2).Open(p, store.KindRecord, record, sealed)
	wantKind(t, err, residency.IntegrityFailure, "another subject")
	_, _, err = subjectKeys(t, v, tenantB, subject1).Open(personal(tenantB), store.KindRecord, record, sealed)
	wantKind(t, err, residency.IntegrityFailure, "another tenant")
	_, _, err = tenantKeys(t, v, tenantB).OpenFact(store.KindDrive, drive1, fact)
	wantKind(t, err, residency.IntegrityFailure, "another tenant's fact")
	_, _, err = sk.OpenFact(store.KindDrive, drive1, fact)
	wantKind(t, err, residency.IntegrityFailure, "a tenant's fact as a subject's")
	_, _, err = tk.OpenFact(store.KindSubject, subject1, sfact)
	wantKind(t, err, residency.IntegrityFailure, "a subject's fact as a tenant's")
	_, _, err = sk.Open(p, store.KindSubject, subject1, sfact)
	wantKind(t, err, residency.IntegrityFailure, "a fact as personal information")
	hidden := must(sk.Seal(p, store.KindSubject, subject1, 7, []byte(canary)))(t)
	_, _, err = sk.OpenFact(store.KindSubject, subject1, hidden)
	wantKind(t, err, residency.IntegrityFailure, "personal information as a fact")
	_, _, err = tk.OpenFact(store.KindDrive, drive2, fact)
	wantKind(t, err, residency.IntegrityFailure, "another drive's row")
}

// TestRegionIsBound: the same root and key store under another region's name open nothing.
func TestRegionIsBound(t *testing.T) {
	ring, keys := newRing(t), newMemoryKeys()
	tenantKeys(t, seal.NewVault("ch", ring, keys, seal.Options{}), tenantA)
	_, err := seal.NewVault("us", ring, keys, seal.Options{}).Tenant(ctx, tenantA)
	wantKind(t, err, residency.KeysUnavailable, "another region")
}

func TestRecordsAreNoFacts(t *testing.T) {
	v := newVault(t)
	tk, sk := tenantKeys(t, v, tenantA), subjectKeys(t, v, tenantA, subject1)
	for name, sealFact := range map[string]func(){
		"tenant":  func() { tk.SealFact(store.KindRecord, record, 1, []byte(canary)) },
		"subject": func() { sk.SealFact(store.KindRecord, record, 1, []byte(canary)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: a record was sealed as a fact", name)
				}
			}()
			sealFact()
		}()
	}
	sealed := must(sk.Seal(personal(tenantA), store.KindRecord, record, 1, []byte(canary)))(t)
	_, _, err := tk.OpenFact(store.KindRecord, record, sealed)
	wantKind(t, err, residency.Internal, "a record as the tenant's fact")
	_, _, err = sk.OpenFact(store.KindRecord, record, sealed)
	wantKind(t, err, residency.Internal, "a record as the subject's fact")
}

// TestPermits: what a permit does not cover is neither sealed nor opened.
func TestPermits(t *testing.T) {
	v := newVault(t)
	sk, dk := subjectKeys(t, v, tenantA, subject1), driveKeys(t, v, tenantA, drive1)
	row := must(sk.Seal(personal(tenantA), store.KindRecord, record, 1, []byte(canary)))(t)
	segment := must(dk.SealSegment(driveData(tenantA), nil, "chunk", 0, []byte(canary)))(t)
	permit := seal.NewPermit
	for _, c := range []struct {
		name        string
		permit      seal.Permit
		rows, drive bool
	}{
		{"zero", seal.Permit{}, false, false},
		{"tenant's personal information", permit(tenantA, residency.PersonalInformation, ""), true, false},
		{"subject's", permit(tenantA, residency.PersonalInformation, subject1), true, false},
		{"row's", permit(tenantA, residency.PersonalInformation, record), true, false},
		{"another subject's", permit(tenantA, residency.PersonalInformation, subject2), false, false},
		{"part of the subject's id", permit(tenantA, residency.PersonalInformation, subject1[:8]), false, false},
		{"another tenant's", permit(tenantB, residency.PersonalInformation, subject1), false, false},
		{"no tenant's", permit(store.Tenant{}, residency.PersonalInformation, ""), false, false},
		{"tenant's drive data", permit(tenantA, residency.VirtualDriveData, ""), false, true},
		{"drive's", permit(tenantA, residency.VirtualDriveData, drive1), false, true},
		{"another drive's", permit(tenantA, residency.VirtualDriveData, drive2), false, false},
		{"another tenant's drive's", permit(tenantB, residency.VirtualDriveData, drive1), false, false},
		{"account data", permit(tenantA, residency.AccountData, ""), false, false},
		{"no class", permit(tenantA, residency.DataClassUnspecified, ""), false, false},
		{"unknown class", permit(tenantA, 200, ""), false, false},
	} {
		check := func(what string, allowed bool, out []byte, err error) {
			if allowed != (err == nil) {
				t.Errorf("%s: %s: %v", c.name, what, err)
			}
			if !allowed {
				wantKind(t, err, residency.Internal, c.name+": "+what)
				if out != nil {
					t.Errorf("%s: %s gave %d bytes", c.name, what, len(out))
				}
			}
		}
		out, err := sk.Seal(c.permit, store.KindRecord, record, 1, []byte(canary))
		check("Seal", c.rows, out, err)
		out, _, err = sk.Open(c.permit, store.KindRecord, record, row)
		check("Open", c.rows, out, err)
		out, err = dk.SealSegment(c.permit, nil, "chunk", 0, []byte(canary))
		check("SealSegment", c.drive, out, err)
		out, err = dk.OpenSegment(c.permit, nil, "chunk", 0, segment)
		check("OpenSegment", c.drive, out, err)
	}
	// Keys of a tenant that is none cannot come about, so no permit fits them.
	_, err := v.CreateTenant(ctx, store.Tenant{})
	wantKind(t, err, residency.Internal, "the zero tenant")
}

// TestRowAllocations: a seal or open allocates its result alone.
func TestRowAllocations(t *testing.T) {
	v := newVault(t)
	tk, sk := tenantKeys(t, v, tenantA), subjectKeys(t, v, tenantA, subject1)
	p, plain := personal(tenantA), make([]byte, 512)
	sealed := must(sk.Seal(p, store.KindRecord, record, 1, plain))(t)
	for name, c := range map[string]struct {
		most float64
		f    func()
	}{
		"Seal":     {1, func() { _, _ = sk.Seal(p, store.KindRecord, record, 1, plain) }},
		"Open":     {1, func() { _, _, _ = sk.Open(p, store.KindRecord, record, sealed) }},
		"SealFact": {1, func() { tk.SealFact(store.KindDrive, drive1, 1, plain) }},
		"ID":       {1, func() { tk.ID("record", "subject-1", "record-1") }},
		"Tenant":   {0, func() { _, _ = v.Tenant(ctx, tenantA) }},
		"Subject":  {0, func() { _, _ = v.Subject(ctx, tk, subject1) }},
	} {
		if n := testing.AllocsPerRun(200, c.f); n > c.most && !raceEnabled {
			t.Errorf("%s: %v allocations, want %v", name, n, c.most)
		}
	}
}

// FuzzOpen: arbitrary bytes neither open nor panic, wherever they are put.
func FuzzOpen(f *testing.F) {
	v := newVault(f)
	tk, sk, dk := tenantKeys(f, v, tenantA), subjectKeys(f, v, tenantA, subject1), driveKeys(f, v, tenantA, drive1)
	p, d := personal(tenantA), driveData(tenantA)
	row := must(sk.Seal(p, store.KindRecord, record, 1, []byte(canary)))(f)
	segment := must(dk.SealSegment(d, nil, "chunk", 1, []byte(canary)))(f)
	fact := tk.SealFact(store.KindDrive, drive1, 1, []byte(canary))
	for _, b := range [][]byte{nil, {1}, row, segment, fact, row[:seal.RowOverhead], segment[:seal.SegmentOverhead]} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if out, _, err := sk.Open(p, store.KindRecord, record, b); err == nil && !bytes.Equal(b, row) {
			t.Fatalf("opened as a record: %x", out)
		}
		if out, _, err := tk.OpenFact(store.KindDrive, drive1, b); err == nil && !bytes.Equal(b, fact) {
			t.Fatalf("opened as a fact: %x", out)
		}
		if out, err := dk.OpenSegment(d, nil, "chunk", 1, b); err == nil && !bytes.Equal(b, segment) {
			t.Fatalf("opened as a segment: %x", out)
		}
	})
}

func BenchmarkSeal512(b *testing.B) {
	sk, p, plain := subjectKeys(b, newVault(b), tenantA, subject1), personal(tenantA), make([]byte, 512)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = sk.Seal(p, store.KindRecord, record, 1, plain)
	}
}

func BenchmarkOpen512(b *testing.B) {
	sk, p := subjectKeys(b, newVault(b), tenantA, subject1), personal(tenantA)
	sealed := must(sk.Seal(p, store.KindRecord, record, 1, make([]byte, 512)))(b)
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = sk.Open(p, store.KindRecord, record, sealed)
	}
}

func BenchmarkID(b *testing.B) {
	tk := tenantKeys(b, newVault(b), tenantA)
	b.ReportAllocs()
	for b.Loop() {
		tk.ID("record", "subject-00000001", "record-00000001")
	}
}
