package seal_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// vectors are bytes computed from FORMAT.md by a program that shares no code
// with this package. All binary values are in hexadecimal.
type vectors struct {
	Region           residency.Region `json:"region"`
	Tenant           string           `json:"tenant"`
	Subject          string           `json:"subject"`
	Drive            string           `json:"drive"`
	Keyring          string           `json:"keyring"`
	TenantPseudonym  string           `json:"tenant_pseudonym"`
	SubjectPseudonym string           `json:"subject_pseudonym"`
	Keys             []struct {
		Name    string `json:"name"`
		Wrapped string `json:"wrapped"`
	} `json:"keys"`
	DriveRoot []struct {
		Info string `json:"info"`
		Key  string `json:"key"`
	} `json:"drive_root"`
	Objects []struct {
		Of        string `json:"of"`
		ID        string `json:"id"`
		Pseudonym string `json:"pseudonym"`
	} `json:"objects"`
	IDs []struct {
		Label string   `json:"label"`
		Parts []string `json:"parts"`
		ID    string   `json:"id"`
	} `json:"ids"`
	Lookups []struct {
		Kind string `json:"kind"`
		Text string `json:"text"`
		ID   string `json:"id"`
	} `json:"lookups"`
	Rows []struct {
		Under     string     `json:"under"`
		Kind      store.Kind `json:"kind"`
		ID        string     `json:"id"`
		Version   uint64     `json:"version"`
		Plaintext string     `json:"plaintext"`
		Sealed    string     `json:"sealed"`
	} `json:"rows"`
	Segments []struct {
		Chunk     string `json:"chunk"`
		Index     uint32 `json:"index"`
		Plaintext string `json:"plaintext"`
		Sealed    string `json:"sealed"`
	} `json:"segments"`
}

// vectorKeys are the vectors with their keys at work.
type vectorKeys struct {
	vectors
	ring    seal.Keyring
	tenant  store.Tenant
	tk      *seal.TenantKeys
	subject *seal.SubjectKeys
	drive   *seal.DriveKeys
}

func openVectors(t testing.TB) *vectorKeys {
	t.Helper()
	v := &vectorKeys{}
	if err := json.Unmarshal(must(os.ReadFile("testdata/vectors.json"))(t), &v.vectors); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ring")
	if err := os.WriteFile(path, unhex(t, v.Keyring), 0o600); err != nil {
		t.Fatal(err)
	}
	v.ring = must(seal.OpenFileKeyring(path))(t)
	keys := newMemoryKeys()
	for _, k := range v.Keys {
		keys.wrapped[string(unhex(t, k.Name))] = unhex(t, k.Wrapped)
	}
	vault := seal.NewVault(v.Region, v.ring, keys, seal.Options{})
	v.tenant = store.Tenant(unhex(t, v.Tenant))
	v.tk = must(vault.Tenant(ctx, v.tenant))(t)
	v.subject = must(vault.Subject(ctx, v.tk, store.ID(unhex(t, v.Subject))))(t)
	v.drive = must(vault.Drive(ctx, v.tk, store.ID(unhex(t, v.Drive))))(t)
	return v
}

func TestVectorNames(t *testing.T) {
	v := openVectors(t)
	if got := v.tk.Pseudonym(); got != v.TenantPseudonym {
		t.Errorf("tenant: %s", got)
	}
	if got := v.subject.Pseudonym(); got != v.SubjectPseudonym {
		t.Errorf("subject: %s", got)
	}
	for _, o := range v.Objects {
		of := v.tk.ObjectPseudonym
		if o.Of == "subject" {
			of = v.subject.ObjectPseudonym
		}
		if got := hex.EncodeToString(of(store.ID(unhex(t, o.ID)))); got != o.Pseudonym {
			t.Errorf("object of the %s: %s", o.Of, got)
		}
	}
	for _, i := range v.IDs {
		if got := hex.EncodeToString([]byte(v.tk.ID(i.Label, i.Parts...))); got != i.ID {
			t.Errorf("id of %q %q: %s", i.Label, i.Parts, got)
		}
	}
	for _, l := range v.Lookups {
		look := v.tk.LookupEmail
		if l.Kind == "phone" {
			look = v.tk.LookupPhone
		}
		if got := hex.EncodeToString([]byte(must(look(l.Text))(t))); got != l.ID {
			t.Errorf("%s %q: %s", l.Kind, l.Text, got)
		}
	}
	for _, d := range v.DriveRoot {
		if got := hex.EncodeToString(must(v.ring.DriveRoot(ctx, unhex(t, d.Info)))(t)); got != d.Key {
			t.Errorf("drive root: %s", got)
		}
	}
}

func TestVectorRows(t *testing.T) {
	v := openVectors(t)
	for _, r := range v.Rows {
		open := v.tk.OpenFact
		switch r.Under {
		case "subject":
			open = v.subject.OpenFact
		case "permit":
			open = func(kind store.Kind, id store.ID, sealed []byte) ([]byte, uint64, error) {
				return v.subject.Open(personal(v.tenant), kind, id, sealed)
			}
		}
		got, version, err := open(r.Kind, store.ID(unhex(t, r.ID)), unhex(t, r.Sealed))
		if err != nil || version != r.Version || !bytes.Equal(got, unhex(t, r.Plaintext)) {
			t.Errorf("under the %s, kind %d: %x, %d, %v", r.Under, r.Kind, got, version, err)
		}
	}
}

func TestVectorSegments(t *testing.T) {
	v := openVectors(t)
	for _, s := range v.Segments {
		got, err := v.drive.OpenSegment(driveData(v.tenant), nil, s.Chunk, s.Index, unhex(t, s.Sealed))
		if err != nil || !bytes.Equal(got, unhex(t, s.Plaintext)) {
			t.Errorf("chunk of %d bytes, segment %d: %x, %v", len(s.Chunk), s.Index, got, err)
		}
	}
}
