package consent

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/domicile-project/domicile/residency"
)

var (
	ch  = residency.Jurisdiction{'C', 'H'}
	us  = residency.Jurisdiction{'U', 'S'}
	now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func border() Consent {
	return Consent{
		ID: "c1", Kind: residency.BorderCrossing, Subject: "s1",
		Classes: residency.DataClassSet(residency.PersonalInformation), From: ch, To: us,
		Purposes: residency.PurposeSet(residency.Payments, residency.Enquiries),
		Granted:  now.Add(-time.Hour), Expires: now.Add(time.Hour),
	}
}

func query() Query {
	return Query{
		Kind: residency.BorderCrossing, Class: residency.PersonalInformation, From: ch, To: us, Purpose: residency.Payments,
	}
}

func TestState(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Consent)
		want   residency.ConsentState
	}{
		"granted":                     {func(*Consent) {}, residency.ConsentActive},
		"never granted":               {func(c *Consent) { c.Granted = time.Time{} }, residency.ConsentStateUnspecified},
		"at its end":                  {func(c *Consent) { c.Expires = now }, residency.ConsentExpired},
		"just before its end":         {func(c *Consent) { c.Expires = now.Add(1) }, residency.ConsentActive},
		"without an end":              {func(c *Consent) { c.Expires = time.Time{} }, residency.ConsentExpired},
		"withdrawn":                   {func(c *Consent) { c.Withdrawn = now }, residency.ConsentWithdrawn},
		"superseded":                  {func(c *Consent) { c.Superseded = now }, residency.ConsentSuperseded},
		"superseded, then withdrawn":  {func(c *Consent) { c.Superseded, c.Withdrawn = now, now }, residency.ConsentWithdrawn},
		"withdrawn, past its end":     {func(c *Consent) { c.Withdrawn, c.Expires = now, now }, residency.ConsentWithdrawn},
		"the zero consent is nothing": {func(c *Consent) { *c = Consent{} }, residency.ConsentExpired},
	} {
		consent := border()
		c.change(&consent)
		if got := consent.State(now); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestCovers(t *testing.T) {
	c := border()
	if !c.Covers(query()) {
		t.Fatal("a consent does not cover what it says")
	}
	for name, change := range map[string]func(*Query){
		"another kind":      func(q *Query) { q.Kind = residency.MarketingOptIn },
		"no kind":           func(q *Query) { q.Kind = 0 },
		"another class":     func(q *Query) { q.Class = residency.VirtualDriveData },
		"no class":          func(q *Query) { q.Class = 0 },
		"the way back":      func(q *Query) { q.From, q.To = us, ch },
		"from nowhere":      func(q *Query) { q.From = residency.Jurisdiction{} },
		"to nowhere":        func(q *Query) { q.To = residency.Jurisdiction{} },
		"another purpose":   func(q *Query) { q.Purpose = residency.Marketing },
		"no purpose":        func(q *Query) { q.Purpose = 0 },
		"a recipient":       func(q *Query) { q.Recipient = "r1" },
		"an unknown class":  func(q *Query) { q.Class = 7 },
		"a purpose unknown": func(q *Query) { q.Purpose = 31 },
	} {
		q := query()
		change(&q)
		if c.Covers(q) {
			t.Errorf("%s is covered", name)
		}
	}
	c.Recipients = []string{"r1"}
	q := query()
	q.Recipient = "r1"
	if !c.Covers(q) {
		t.Error("a named recipient is not covered")
	}
	zero := Consent{}
	if zero.Covers(Query{}) {
		t.Error("the zero consent covers the zero query")
	}
}

// Whose word wins, case by case.
func TestFind(t *testing.T) {
	active := border()
	withdrawn, expired, superseded := border(), border(), border()
	withdrawn.ID, withdrawn.Withdrawn = "w", now
	expired.ID, expired.Expires = "e", now
	superseded.ID, superseded.Superseded = "s", now
	later := border()
	later.ID, later.Granted = "later", now.Add(-time.Minute)
	whole := border()
	whole.ID, whole.Subject, whole.WholeTenant = "whole", "", true
	wholeWithdrawn := whole
	wholeWithdrawn.ID, wholeWithdrawn.Withdrawn = "whole-w", now
	other := border()
	other.ID, other.Purposes = "other", residency.PurposeSet(residency.Marketing)

	for name, c := range map[string]struct {
		own, tenant []Consent
		active      bool
		id          string
		reason      residency.Kind
	}{
		"none":                                   {nil, nil, false, "", residency.OK},
		"own":                                    {[]Consent{active}, nil, true, "c1", residency.OK},
		"the last granted is named":              {[]Consent{active, later}, nil, true, "later", residency.OK},
		"the tenant's":                           {nil, []Consent{whole}, true, "whole", residency.OK},
		"own withdrawal outweighs the tenant's":  {[]Consent{withdrawn}, []Consent{whole}, false, "w", residency.ConsentIsWithdrawn},
		"own active outweighs tenant withdrawal": {[]Consent{active}, []Consent{wholeWithdrawn}, true, "c1", residency.OK},
		"own end is no word against":             {[]Consent{expired}, []Consent{whole}, true, "whole", residency.OK},
		"own expired":                            {[]Consent{expired}, nil, false, "e", residency.ConsentIsExpired},
		"own superseded":                         {[]Consent{superseded}, nil, false, "s", residency.ConsentIsSuperseded},
		"withdrawn is named before expired":      {[]Consent{expired, withdrawn}, nil, false, "w", residency.ConsentIsWithdrawn},
		"granted anew after a withdrawal":        {[]Consent{withdrawn, later}, nil, true, "later", residency.OK},
		"tenant withdrawn":                       {nil, []Consent{wholeWithdrawn}, false, "whole-w", residency.ConsentIsWithdrawn},
		"own expired, tenant withdrawn":          {[]Consent{expired}, []Consent{wholeWithdrawn}, false, "whole-w", residency.ConsentIsWithdrawn},
		"others do not count":                    {[]Consent{other}, nil, false, "", residency.OK},
	} {
		f := Find(query(), now, c.own, c.tenant)
		if f.Active != c.active || f.ID != c.id || f.Reason() != c.reason {
			t.Errorf("%s: %+v, want active %v of %q, reason %v", name, f, c.active, c.id, c.reason)
		}
	}
}

func anyTime(t *rapid.T, label string) time.Time {
	n := rapid.Int64Range(0, 1<<61).Draw(t, label)
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func anyConsent(t *rapid.T) Consent {
	text := rapid.String()
	c := Consent{
		ID: text.Draw(t, "id"), Kind: residency.ConsentKind(rapid.Uint8().Draw(t, "kind")), Subject: text.Draw(t, "subject"),
		WholeTenant: rapid.Bool().Draw(t, "whole"), Classes: residency.DataClasses(rapid.Uint8().Draw(t, "classes")),
		From: ch, To: us, Purposes: residency.Purposes(rapid.Uint32().Draw(t, "purposes")),
		Recipients: rapid.SliceOfN(text, 1, 4).Draw(t, "recipients"), Supersedes: text.Draw(t, "supersedes"),
		Evidence: Evidence{
			Method: text.Draw(t, "method"), Grantor: text.Draw(t, "grantor"), NoticeLanguage: text.Draw(t, "language"),
			NoticeDigest: text.Draw(t, "digest"), Stated: anyTime(t, "stated"),
		},
		PolicyVersion: text.Draw(t, "version"), Granted: anyTime(t, "granted"), GrantedBy: text.Draw(t, "by"),
		Expires: anyTime(t, "expires"), Withdrawn: anyTime(t, "withdrawn"), WithdrawnBy: text.Draw(t, "withdrawer"),
		Superseded: anyTime(t, "superseded"), SupersededBy: text.Draw(t, "superseder"),
	}
	return c
}

func TestEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyConsent(t)
		got, err := Decode(c.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, c) {
			t.Fatalf("%+v\nis not\n%+v", got, c)
		}
	})
}

// A consent that is withdrawn never permits anything again, whatever is beside it.
func TestWithdrawnIsNeverRelied(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Consent {
			c := border()
			c.ID = rapid.StringMatching(`[a-z]{4}`).Draw(t, "id")
			if rapid.Bool().Draw(t, "withdrawn") {
				c.Withdrawn = now.Add(-time.Duration(rapid.IntRange(0, 1000).Draw(t, "ago")))
				c.ID += "-w"
			}
			return c
		}), 0, 6).Draw(t, "consents")
		cut := rapid.IntRange(0, len(list)).Draw(t, "own")
		f := Find(query(), now, list[:cut], list[cut:])
		if f.Active && len(f.ID) > 4 {
			t.Fatalf("relies on %s", f.ID)
		}
	})
}

func FuzzDecode(f *testing.F) {
	c := border()
	f.Add(c.Encode())
	f.Add([]byte{version})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Decode(b)
		if err != nil {
			return
		}
		if _, err := Decode(c.Encode()); err != nil {
			t.Fatalf("what was accepted cannot be written again: %v", err)
		}
	})
}
