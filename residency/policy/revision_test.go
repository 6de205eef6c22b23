package policy

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/domicile-project/domicile/residency"
)

// edit parses a file with some of its text replaced, each piece once.
func edit(t testing.TB, file string, changes ...string) *Policy {
	t.Helper()
	for i := 0; i < len(changes); i += 2 {
		if strings.Count(file, changes[i]) != 1 {
			t.Fatalf("%q stands %d times in the file", changes[i], strings.Count(file, changes[i]))
		}
		file = strings.Replace(file, changes[i], changes[i+1], 1)
	}
	p, err := Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// later parses a shipped file as a later version with some of its text replaced.
func later(t testing.TB, name string, changes ...string) *Policy {
	t.Helper()
	file, ok := Shipped(name + ".yaml")
	if !ok {
		t.Fatalf("no file %s", name)
	}
	date := strings.TrimLeft(name, "chus-")
	return edit(t, string(file), append([]string{"version: " + name, "version: later", "effective: " + date, "effective: 2026-01-01"}, changes...)...)
}

// shape is what Serves is asked.
type shape struct {
	kind    residency.ConsentKind
	class   residency.DataClass
	place   uint8
	purpose residency.Purpose
}

// served is a second reading of what Serves promises: every shape that some permitted access rests on.
func served(p *Policy) map[shape]bool {
	out := make(map[shape]bool)
	p.table.each(func(c cell) {
		v, q := p.table.at(c), p.table.query(c)
		if !v.allow {
			return
		}
		if v.requires.Has(residency.RequireConsent) {
			purpose := q.Purpose
			if purpose == residency.PurposeUnspecified {
				purpose = residency.Records
			}
			out[shape{residency.BorderCrossing, q.DataClass, c[byPlace], purpose}] = true
		}
		for kind, r := range map[residency.ConsentKind]residency.Requirement{
			residency.MarketingOptIn: residency.RequireOptIn, residency.Parental: residency.RequireParentalConsent,
			residency.InspectionPermission: residency.RequirePermission, residency.ResidenceAgreement: residency.RequireAgreement,
		} {
			for purpose := residency.Purpose(1); purpose < residency.NumPurposes; purpose++ {
				if v.requires.Has(r) && (q.Purpose == purpose || q.Purpose == residency.PurposeUnspecified) {
					out[shape{kind, q.DataClass, placeHome, purpose}] = true
				}
			}
		}
	})
	return out
}

func TestServes(t *testing.T) {
	policies := []*Policy{edit(t, small)}
	for _, p := range shippedPolicies(t) {
		policies = append(policies, p)
	}
	for _, p := range policies {
		want, count := served(p), 0
		for kind := range residency.ConsentKind(residency.NumConsentKinds + 1) {
			for class := range residency.DataClass(residency.NumDataClasses + 1) {
				for _, to := range []residency.Jurisdiction{{}, ch, us, de, {'X', 'X'}} {
					for purpose := range residency.Purpose(residency.NumPurposes + 1) {
						got := p.Serves(kind, class, to, purpose)
						if got {
							count++
						}
						if got != want[shape{kind, class, p.table.placeOf(to), purpose}] {
							t.Errorf("%s: %s %s to %s for %s: got %v", p.Version, kind, class, to, purpose, got)
						}
					}
				}
			}
		}
		t.Logf("%s: %d shapes serve", p.Version, count)
	}
}

func TestServesShipped(t *testing.T) {
	p := shippedPolicies(t)
	pi, drive := residency.PersonalInformation, residency.VirtualDriveData
	for _, c := range []struct {
		home    string
		kind    residency.ConsentKind
		class   residency.DataClass
		to      residency.Jurisdiction
		purpose residency.Purpose
		want    bool
	}{
		{"CH", residency.BorderCrossing, pi, us, residency.Payments, true},
		{"CH", residency.BorderCrossing, pi, residency.Jurisdiction{}, residency.Payments, false},
		{"CH", residency.BorderCrossing, pi, ch, residency.Payments, false},
		{"CH", residency.BorderCrossing, drive, us, residency.ServiceProvision, true},
		{"CH", residency.BorderCrossing, residency.AccountData, us, residency.Records, false},
		{"CH", residency.MarketingOptIn, pi, ch, residency.Marketing, true},
		{"CH", residency.MarketingOptIn, pi, ch, residency.Payments, false},
		{"CH", residency.MarketingOptIn, pi, us, residency.Marketing, false},
		{"CH", residency.ResidenceAgreement, pi, ch, residency.Payments, true},
		{"CH", residency.ResidenceAgreement, drive, ch, residency.ServiceProvision, true},
		{"CH", residency.ResidenceAgreement, drive, ch, residency.Marketing, false},
		{"CH", residency.InspectionPermission, drive, ch, residency.InspectionPurpose, true},
		{"CH", residency.InspectionPermission, drive, ch, residency.FraudPrevention, false},
		{"CH", residency.Parental, pi, ch, residency.ServiceProvision, false},
		{"US", residency.Parental, pi, us, residency.ServiceProvision, true},
	} {
		if got := p[c.home].Serves(c.kind, c.class, c.to, c.purpose); got != c.want {
			t.Errorf("%s: %s %s to %s for %s: got %v", c.home, c.kind, c.class, c.to, c.purpose, got)
		}
	}
	if (*Policy)(nil).Serves(residency.BorderCrossing, pi, us, residency.Payments) || new(Policy).Serves(residency.BorderCrossing, pi, us, residency.Payments) {
		t.Error("no policy has a use for a consent")
	}
}

const (
	noMarketingAbroad = "\nrules:\n  - action: [USE, DISCLOSE, TRANSFER, COLLECT, RESTRICT]\n    data: PERSONAL_INFORMATION\n    to: abroad\n    purpose: MARKETING\n    deny: RESTRICTED\n    clause: choice\n"
	voidsCrossings    = "\nvoids: [BORDER_CROSSING]\n\nclauses:\n"
)

func TestVoids(t *testing.T) {
	first := shippedPolicies(t)["CH"]
	stricter := later(t, "ch-2012-05-02", "\nrules:\n", noMarketingAbroad)
	naming := later(t, "ch-2012-05-02", "\nclauses:\n", voidsCrossings)
	pi, both := residency.DataClassSet(residency.PersonalInformation), residency.DataClassSet(residency.PersonalInformation, residency.VirtualDriveData)
	marketing, more := residency.PurposeSet(residency.Marketing), residency.PurposeSet(residency.Marketing, residency.Payments)
	for _, c := range []struct {
		what     string
		p, from  *Policy
		kind     residency.ConsentKind
		classes  residency.DataClasses
		to       residency.Jurisdiction
		purposes residency.Purposes
		clause   string // "" = not voided
	}{
		{"nothing of it is served any more", stricter, first, residency.BorderCrossing, pi, us, marketing, "choice"},
		{"one purpose still is", stricter, first, residency.BorderCrossing, pi, us, more, ""},
		{"one class still is", stricter, first, residency.BorderCrossing, both, us, marketing, ""}, // drives are moved for it
		{"another kind", stricter, first, residency.MarketingOptIn, pi, ch, marketing, ""},
		{"it never served", stricter, first, residency.BorderCrossing, pi, ch, marketing, ""},
		{"it covers nothing", stricter, first, residency.BorderCrossing, 0, us, marketing, ""},
		{"the kind is named", naming, first, residency.BorderCrossing, both, us, more, "revisions"},
		{"another kind than that named", naming, first, residency.ResidenceAgreement, pi, ch, more, ""},
		{"recorded under the version itself", naming, naming, residency.BorderCrossing, pi, us, more, ""},
		{"recorded under the same file", naming, later(t, "ch-2012-05-02", "\nclauses:\n", voidsCrossings), residency.BorderCrossing, pi, us, more, ""},
		{"an unknown version, served", stricter, nil, residency.BorderCrossing, pi, us, more, ""},
		{"an unknown version, not served", stricter, nil, residency.BorderCrossing, pi, us, marketing, "revisions"},
		{"an unknown version, the kind named", naming, nil, residency.BorderCrossing, pi, us, more, "revisions"},
		{"no policy", nil, first, residency.BorderCrossing, pi, us, marketing, ""},
	} {
		voided, clause := c.p.Voids(c.from, c.kind, c.classes, c.to, c.purposes)
		if voided != (c.clause != "") || clause != c.clause {
			t.Errorf("%s: got %v, clause %q, want clause %q", c.what, voided, clause, c.clause)
		}
	}
}

// TestVoided: what one version voids stays void under the next.
func TestVoided(t *testing.T) {
	file, _ := Shipped("ch-2012-05-02.yaml")
	version := func(name, effective, old, new string) *Policy {
		return edit(t, string(file), "version: ch-2012-05-02", "version: "+name, "effective: 2012-05-02", "effective: "+effective, old, new)
	}
	first := shippedPolicies(t)["CH"]
	naming := version("naming", "2020-01-01", "\nclauses:\n", voidsCrossings)
	stricter := version("stricter", "2021-01-01", "\nrules:\n", noMarketingAbroad)
	last := version("last", "2022-01-01", "consent_months: 12", "consent_months: 24")
	versions := []*Policy{last, first, nil, stricter, naming}
	pi := residency.DataClassSet(residency.PersonalInformation)
	marketing := residency.PurposeSet(residency.Marketing)
	for _, c := range []struct {
		now, recorded string
		want          *Policy
		clause        string
	}{
		{"2019-12-31", first.Version, nil, ""},
		{"2020-01-01", first.Version, naming, "revisions"},
		{"2023-01-01", first.Version, naming, "revisions"},
		{"2020-06-01", "naming", nil, ""},
		{"2021-01-01", "naming", stricter, "choice"},
		{"2023-01-01", "naming", stricter, "choice"},
		{"2023-01-01", "stricter", nil, ""},
		{"2023-01-01", "last", nil, ""},
		{"2021-06-01", "gone", stricter, "revisions"},
		{"2023-01-01", "gone", nil, ""},
	} {
		now, err := time.Parse(time.DateOnly, c.now)
		if err != nil {
			t.Fatal(err)
		}
		by, clause := Voided(versions, now, c.recorded, residency.BorderCrossing, pi, us, marketing)
		if by != c.want || clause != c.clause {
			t.Errorf("recorded under %s, at %s: got %v, clause %q, want clause %q", c.recorded, c.now, by, clause, c.clause)
		}
	}
	if by, _ := Voided(nil, time.Now(), "v", residency.BorderCrossing, pi, us, marketing); by != nil {
		t.Error("no version voids something")
	}
}

// TestVoidsIsPerShape: for any two policies a consent is voided exactly when some shape of it was
// served and none is.
func TestVoidsIsPerShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := drawPolicy(t), drawPolicy(t)
		kind := residency.ConsentKind(rapid.Uint8Range(1, residency.NumConsentKinds-1).Draw(t, "kind"))
		classes := residency.DataClasses(rapid.Uint8Range(0, 1<<residency.NumDataClasses-1).Draw(t, "classes"))
		purposes := residency.Purposes(rapid.Uint32Range(0, 1<<residency.NumPurposes-1).Draw(t, "purposes"))
		place := rapid.SampledFrom([]residency.Jurisdiction{{}, ch, us, de}).Draw(t, "to")
		was, is := false, false
		for _, class := range classes.List() {
			for _, purpose := range purposes.List() {
				if from.Serves(kind, class, place, purpose) {
					was = true
					is = is || to.Serves(kind, class, place, purpose)
				}
			}
		}
		voided, clause := to.Voids(from, kind, classes, place, purposes)
		if voided != (was && !is) || voided != (clause != "") {
			t.Fatalf("voided is %v under %q; it was served: %v, is: %v", voided, clause, was, is)
		}
	})
}

func TestVoidsKey(t *testing.T) {
	declared := "  - id: revisions\n    title: It may be revised.\n    elsewhere: versions\nplacement:"
	p := edit(t, small, "\nclauses:", "\nvoids: PARENTAL\nclauses:", "placement:", declared)
	if p.voids != 1<<residency.Parental {
		t.Errorf("got %b", p.voids)
	}
	for voids, want := range map[string]string{
		"[BORDER_CROSSING, PARENTAL]": `voids rests on clause "revisions", which is not declared`,
		"[PARENTAL, PARENTAL]":        "stands twice",
		"[]":                          "is empty",
		"UNSPECIFIED":                 "unknown consent kind",
		"{a: b}":                      "want a kind of consent: a text",
	} {
		_, err := Parse([]byte(strings.Replace(small, "\nclauses:", "\nvoids: "+voids+"\nclauses:", 1)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("voids: %s: got %v, want %q", voids, err, want)
		}
	}
}

func TestRevisionsAllocateNothing(t *testing.T) {
	first, stricter := shippedPolicies(t)["CH"], later(t, "ch-2012-05-02", "\nrules:\n", noMarketingAbroad)
	versions := []*Policy{first, stricter}
	pi, marketing := residency.DataClassSet(residency.PersonalInformation), residency.PurposeSet(residency.Marketing)
	now := time.Now()
	n := testing.AllocsPerRun(100, func() {
		stricter.Serves(residency.BorderCrossing, residency.PersonalInformation, us, residency.Payments)
		if by, _ := Voided(versions, now, first.Version, residency.BorderCrossing, pi, us, marketing); by == nil {
			t.Error("not voided")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations per run, want 0", n)
	}
}

func BenchmarkVoided(b *testing.B) {
	first, stricter := shippedPolicies(b)["CH"], later(b, "ch-2012-05-02", "\nrules:\n", noMarketingAbroad)
	versions := []*Policy{first, stricter}
	pi, now := residency.DataClassSet(residency.PersonalInformation), time.Now()
	for name, purpose := range map[string]residency.Purpose{"void": residency.Marketing, "holds": residency.Payments} {
		purposes := residency.PurposeSet(purpose)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Voided(versions, now, first.Version, residency.BorderCrossing, pi, us, purposes)
			}
		})
	}
}
