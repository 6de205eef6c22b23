package gateway

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/domicile-project/domicile/residency"
)

// desk governs one tenant's disclosures, by callers at its home unless said otherwise.
type desk struct {
	*world
	at residency.Jurisdiction
	id string
}

// newDesk makes a tenant with a person, s1, of whom two records are held: r1 for payments and services, r2 for
// marketing alone; and in Switzerland a drive, d1.
func newDesk(t testing.TB, j residency.Jurisdiction, options ...option) *desk {
	t.Helper()
	w := newWorld(t, options...)
	d := &desk{world: w, at: j, id: "tenant-" + strings.ToLower(j.String())}
	w.tenant(d.id, j)
	for id, purposes := range map[string]residency.Purposes{
		"r1": residency.PurposeSet(residency.Payments, residency.ServiceProvision), "r2": residency.PurposeSet(residency.Marketing),
	} {
		r := aRecord("s1", id)
		r.Purposes, r.BirthDate, r.Residence = purposes, Date{1980, 5, 6}, j
		_, _, err := w.put(j, d.id, r, nil)
		w.ok(err)
	}
	return d
}

// controller is the legal entity that controls the tenant's information.
func (d *desk) controller() string {
	if d.at == us {
		return "CloudSigma Inc"
	}
	return "CloudSigma AG"
}

func (d *desk) by(who, method string) *Call {
	c := as(d.at, method, residency.Govern, residency.PersonalInformation)
	c.Caller.ID = "spiffe://example.org/" + who
	return c
}

func aRecipient(id string, kind residency.RecipientKind, at residency.Jurisdiction, functions ...Function) Recipient {
	return Recipient{
		ID: id, Name: "Canary & Co", Kind: kind, Jurisdiction: at, Functions: functions,
		Safeguard: Safeguard{Reference: "A-1", ValidUntil: time.Now().AddDate(1, 0, 0)},
	}
}

// contacts is a function that needs a name and one attribute.
func contacts(p residency.Purpose) Function {
	return Function{Purpose: p, Fields: []string{"full_name", "attributes.colour"}}
}

func (d *desk) tryRegister(r Recipient) (Recipient, error) {
	return d.g.RegisterRecipient(d.t.Context(), d.by("admin", "RegisterRecipient"), PutRecipient{Tenant: d.id, Recipient: r})
}

func (d *desk) register(r Recipient) Recipient {
	d.t.Helper()
	out, err := d.tryRegister(r)
	d.ok(err)
	return out
}

func (d *desk) update(r Recipient) error {
	_, err := d.g.UpdateRecipient(d.t.Context(), d.by("admin", "UpdateRecipient"), PutRecipient{Tenant: d.id, Recipient: r})
	return err
}

func (d *desk) revokeRecipient(id string) {
	d.t.Helper()
	_, err := d.g.RevokeRecipient(d.t.Context(), d.by("admin", "RevokeRecipient"), RecipientCall{Tenant: d.id, Recipient: id})
	d.ok(err)
}

func (d *desk) notice(n Notice) (Notice, error) {
	n.Language, n.Digest = "en", "sha256:"+strings.Repeat("0", 64)
	return d.g.GiveNotice(d.t.Context(), d.by("admin", "GiveNotice"), GiveNotice{Tenant: d.id, Notice: n})
}

func (d *desk) object(o Objection) Objection {
	d.t.Helper()
	out, err := d.g.RecordObjection(d.t.Context(), d.by("admin", "RecordObjection"), RecordObjection{Tenant: d.id, Objection: o})
	d.ok(err)
	return out
}

func (d *desk) lift(id string) error {
	_, err := d.g.LiftObjection(d.t.Context(), d.by("admin", "LiftObjection"), GovernanceCall{Tenant: d.id, ID: id})
	return err
}

// anOrder is an order of the desk's own courts about s1 and d1.
func (d *desk) anOrder() Order {
	return Order{
		Authority: "Canary Court", Jurisdiction: d.at, LegalBasis: "StPO 263", Reference: "CC-1", ValidUntil: time.Now().AddDate(0, 6, 0),
		Scope: OrderScope{
			Subjects: []string{"s1"}, Drives: []string{"d1"},
			Classes: residency.DataClassSet(residency.PersonalInformation, residency.VirtualDriveData),
		},
	}
}

func (d *desk) tryOrder(o Order) (Order, error) {
	return d.g.RecordLegalOrder(d.t.Context(), d.by("admin", "RecordLegalOrder"), RecordOrder{Tenant: d.id, Order: o})
}

func (d *desk) order(o Order) Order {
	d.t.Helper()
	out, err := d.tryOrder(o)
	d.ok(err)
	return out
}

func (d *desk) approve(who, order string) (Order, error) {
	return d.g.ApproveLegalOrder(d.t.Context(), d.by(who, "ApproveLegalOrder"), GovernanceCall{Tenant: d.id, ID: order})
}

// approved records an order and has two people approve it.
func (d *desk) approved(o Order) Order {
	d.t.Helper()
	out := d.order(o)
	for _, who := range []string{"officer", "counsel"} {
		var err error
		out, err = d.approve(who, out.ID)
		d.ok(err)
	}
	return out
}

func (d *desk) revokeOrder(id string) {
	d.t.Helper()
	_, err := d.g.RevokeLegalOrder(d.t.Context(), d.by("admin", "RevokeLegalOrder"), GovernanceCall{Tenant: d.id, ID: id})
	d.ok(err)
}

func (d *desk) rejectOrder(id string) error {
	_, err := d.g.RejectLegalOrder(d.t.Context(), d.by("counsel", "RejectLegalOrder"), GovernanceCall{Tenant: d.id, ID: id})
	return err
}

// request is an informal request of a recipient's about s1's name.
func request(recipient string) Informal {
	return Informal{
		Recipient: recipient, Class: residency.PersonalInformation, Subjects: []string{"s1"}, Fields: []string{"full_name"},
		Purpose: residency.FraudPrevention, Reference: "I-1", ValidUntil: time.Now().AddDate(0, 1, 0),
	}
}

func (d *desk) informal(i Informal) (Informal, error) {
	return d.g.RecordInformalRequest(d.t.Context(), d.by("admin", "RecordInformalRequest"), RecordInformal{Tenant: d.id, Informal: i})
}

func (d *desk) grantInformal(who, id string) (Informal, error) {
	return d.g.ApproveInformalRequest(d.t.Context(), d.by(who, "ApproveInformalRequest"), GovernanceCall{Tenant: d.id, ID: id})
}

// disclosed is what a disclosure gave.
type disclosed struct {
	call    *Call
	records []Record
	data    []byte
}

func (d *desk) disclose(req Disclose) (disclosed, error) { return d.discloseFrom(d.at, req) }

func (d *desk) discloseFrom(j residency.Jurisdiction, req Disclose) (out disclosed, err error) {
	out.call = as(j, "Disclose", residency.Disclose, residency.PersonalInformation)
	if req.Tenant == "" {
		req.Tenant = d.id
	}
	err = d.g.Disclose(d.t.Context(), out.call, req, func(p DisclosePiece) error {
		if p.Record != nil {
			out.records = append(out.records, *p.Record)
		}
		out.data = append(out.data, p.Data...)
		return nil
	})
	return out, err
}

// refuses wants a disclosure to be refused for a reason, citing a clause.
func (d *desk) refuses(req Disclose, reason residency.Kind, clause string) {
	d.t.Helper()
	out, err := d.disclose(req)
	if residency.KindOf(err) != reason || out.call.Decision.Allow || out.call.Decision.Clause != clause {
		d.t.Errorf("got %v under %q (allow %v), want %v under %q", err, out.call.Decision.Clause, out.call.Decision.Allow, reason, clause)
	}
	if len(out.records) > 0 || len(out.data) > 0 {
		d.t.Error("something left")
	}
}

func (d *desk) discloses(req Disclose) disclosed {
	d.t.Helper()
	out, err := d.disclose(req)
	if err != nil {
		d.t.Fatalf("refused: %v (%+v)", err, out.call.Decision)
	}
	return out
}

func (d *desk) disclosures(req ListDisclosures) []Disclosure {
	d.t.Helper()
	req.Tenant = d.id
	list, _, err := d.g.ListDisclosures(d.t.Context(), d.by("admin", "ListDisclosures"), req)
	d.ok(err)
	return list
}

// wantDecision wants a refusal that is a decision of the log's, under a clause.
func (d *desk) wantDecision(err error, reason residency.Kind, clause string) {
	d.t.Helper()
	d.wantKind(err, reason)
	log := d.entries(residency.Region(strings.ToLower(d.at.String())))
	if e := log[len(log)-1]; e.Allow || e.Reason != reason || e.Clause != clause {
		d.t.Errorf("the log has allow %v, %v under %q; want %v under %q", e.Allow, e.Reason, e.Clause, reason, clause)
	}
}

// Every row comes back from its bytes as it was, and its bytes are those of no other.
func TestGovernanceRows(t *testing.T) {
	text := rapid.StringN(0, 40, 80)
	texts := rapid.Custom(func(t *rapid.T) []string {
		if list := rapid.SliceOfN(text, 0, 3).Draw(t, "list"); len(list) > 0 {
			return list
		}
		return nil
	})
	when := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "unset") {
			return time.Time{}
		}
		return time.Unix(0, rapid.Int64Min(1).Draw(t, "ns")).UTC()
	})
	place := rapid.SampledFrom([]residency.Jurisdiction{{}, ch, us})
	set := rapid.Map(rapid.Uint32Max(1<<residency.NumPurposes-1), func(n uint32) residency.Purposes { return residency.Purposes(n) })
	purpose := rapid.Map(rapid.IntRange(0, residency.NumPurposes-1), func(n int) residency.Purpose { return residency.Purpose(n) }) //nolint:gosec // small
	kind := rapid.Map(rapid.IntRange(0, residency.NumRecipientKinds-1), func(n int) residency.RecipientKind { return residency.RecipientKind(n) })
	class := rapid.Map(rapid.IntRange(0, residency.NumDataClasses-1), func(n int) residency.DataClass { return residency.DataClass(n) })
	approval := rapid.Custom(func(t *rapid.T) Approval { return Approval{By: text.Draw(t, "by"), At: when.Draw(t, "at")} })

	checkRow(t, "recipient", func(t *rapid.T) Recipient {
		r := Recipient{
			ID: text.Draw(t, "id"), Name: text.Draw(t, "name"), Kind: kind.Draw(t, "kind"), Jurisdiction: place.Draw(t, "place"),
			Safeguard: Safeguard{text.Draw(t, "reference"), when.Draw(t, "until")},
			State:     rapid.SampledFrom([]RecipientState{0, RecipientActive, RecipientRevoked}).Draw(t, "state"),
			Version:   rapid.Uint64().Draw(t, "version"), Created: when.Draw(t, "created"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "functions") {
			r.Functions = append(r.Functions, Function{purpose.Draw(t, "purpose"), texts.Draw(t, "fields")})
		}
		return r
	})
	checkRow(t, "notice", func(t *rapid.T) Notice {
		return Notice{
			ID: text.Draw(t, "id"), Subject: text.Draw(t, "subject"), WholeTenant: rapid.Bool().Draw(t, "whole"),
			Recipient: text.Draw(t, "recipient"), Purposes: set.Draw(t, "purposes"), Language: text.Draw(t, "language"),
			Digest: text.Draw(t, "digest"), Given: when.Draw(t, "given"), PeriodEnds: when.Draw(t, "ends"),
		}
	})
	checkRow(t, "objection", func(t *rapid.T) Objection {
		return Objection{
			ID: text.Draw(t, "id"), Subject: text.Draw(t, "subject"), WholeTenant: rapid.Bool().Draw(t, "whole"),
			Recipient: text.Draw(t, "recipient"), Objected: when.Draw(t, "objected"), Lifted: when.Draw(t, "lifted"),
		}
	})
	checkRow(t, "order", func(t *rapid.T) Order {
		o := Order{
			ID: text.Draw(t, "id"), Authority: text.Draw(t, "authority"), Jurisdiction: place.Draw(t, "place"),
			LegalBasis: text.Draw(t, "basis"), Reference: text.Draw(t, "reference"), ValidFrom: when.Draw(t, "valid"),
			ValidUntil: when.Draw(t, "until"), State: rapid.SampledFrom([]OrderState{0, OrderRecorded, OrderRevoked}).Draw(t, "state"),
			Recipient: text.Draw(t, "recipient"), Recorder: text.Draw(t, "recorder"), Recorded: when.Draw(t, "recorded"), Ended: when.Draw(t, "ended"),
			Scope: OrderScope{
				texts.Draw(t, "subjects"), texts.Draw(t, "drives"), residency.DataClasses(rapid.Uint8Max(15).Draw(t, "classes")),
				when.Draw(t, "from"), when.Draw(t, "to"),
			},
		}
		if list := rapid.SliceOfN(approval, 0, 2).Draw(t, "approvals"); len(list) > 0 {
			o.Approvals = list
		}
		return o
	})
	checkRow(t, "informal request", func(t *rapid.T) Informal {
		return Informal{
			ID: text.Draw(t, "id"), Recipient: text.Draw(t, "recipient"), Class: class.Draw(t, "class"), Subjects: texts.Draw(t, "subjects"),
			Fields: texts.Draw(t, "fields"), Purpose: purpose.Draw(t, "purpose"), Reference: text.Draw(t, "reference"),
			ValidUntil: when.Draw(t, "until"), Approval: approval.Draw(t, "approval"), Recorder: text.Draw(t, "recorder"), Recorded: when.Draw(t, "recorded"),
		}
	})
	checkRow(t, "case", func(t *rapid.T) Case {
		return Case{
			ID: text.Draw(t, "id"), Suspicion: text.Draw(t, "suspicion"), Drives: texts.Draw(t, "drives"), ValidUntil: when.Draw(t, "until"),
			Approval: approval.Draw(t, "approval"), Opener: text.Draw(t, "opener"), Opened: when.Draw(t, "opened"), Closed: when.Draw(t, "closed"),
		}
	})
	checkRow(t, "disclosure", func(t *rapid.T) Disclosure {
		return Disclosure{
			ID: text.Draw(t, "id"), Recipient: text.Draw(t, "recipient"), Kind: kind.Draw(t, "kind"), Jurisdiction: place.Draw(t, "place"),
			Subject: text.Draw(t, "subject"), Drive: text.Draw(t, "drive"), Purpose: purpose.Draw(t, "purpose"), Order: text.Draw(t, "order"),
			Informal: text.Draw(t, "informal"), Consent: text.Draw(t, "consent"), Fields: texts.Draw(t, "fields"),
			Stage:   rapid.SampledFrom([]Stage{0, DueDiligence, AssetTransfer}).Draw(t, "stage"),
			Records: rapid.Uint64().Draw(t, "records"), Bytes: rapid.Uint64().Draw(t, "bytes"), Disclosed: when.Draw(t, "disclosed"),
			End: text.Draw(t, "end"), Necessity: text.Draw(t, "necessity"),
		}
	})
}

func checkRow[T any, P interface {
	*T
	row
}](t *testing.T, name string, draw func(*rapid.T) T) {
	t.Run(name, func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			v, other := draw(t), draw(t)
			var got T
			b := encodeRow(P(&v))
			if err := decodeRow(b, P(&got)); err != nil || !reflect.DeepEqual(got, v) {
				t.Fatalf("%+v came back as %+v, %v", v, got, err)
			}
			if !reflect.DeepEqual(v, other) && bytes.Equal(b, encodeRow(P(&other))) {
				t.Fatalf("%+v and %+v have the same bytes", v, other)
			}
		})
	})
}
