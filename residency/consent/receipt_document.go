package consent

import (
	"slices"

	"github.com/domicile-project/domicile/residency"
)

// receiptContext says inline what every name means, so that no document has to be
// fetched to read the receipt.
func receiptContext(language string) map[string]any {
	c := map[string]any{
		"@version": 1.1,
		"dct":      "http://purl.org/dc/terms/",
		"domicile": "urn:domicile:vocabulary:",
		"dpv":      "https://w3id.org/dpv#",
		"loc":      "https://w3id.org/dpv/loc#",
		"pd":       "https://w3id.org/dpv/pd#",
		"rdf":      "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
		"skos":     "http://www.w3.org/2004/02/skos/core#",
		"xsd":      "http://www.w3.org/2001/XMLSchema#",

		"skos:prefLabel": map[string]string{"@language": language},
	}
	for _, name := range []string{"dct:created", "dpv:isIndicatedAtTime"} {
		c[name] = map[string]string{"@type": "xsd:dateTime"}
	}
	for _, name := range []string{ // their values are names, not text
		"dct:conformsTo", "dct:isReplacedBy", "dct:publisher", "dct:replaces", "domicile:fromJurisdiction",
		"domicile:ruleOf", "domicile:toJurisdiction", "dpv:hasApplicability", "dpv:hasCountry", "dpv:hasJurisdiction",
		"dpv:hasLegalBasis", "dpv:hasLocation", "dpv:isExercisedAt", "skos:narrower",
	} {
		c[name] = map[string]string{"@type": "@id"}
	}
	return c
}

// writer writes one receipt.
type writer struct {
	c        *Consent
	f        *ReceiptFacts
	language string // the document's, a BCP 47 tag
	column   int    // of the labels
}

func (w *writer) document() document {
	id := receiptID(w.c, w.f)
	return document{
		Context:    receiptContext(w.language),
		ID:         "urn:uuid:" + id,
		Type:       "dpv:ConsentReceipt",
		ConformsTo: []string{"https://w3id.org/dpv/schema/dpv-27560#receipt", receiptSchema},
		Identifier: id,
		Created:    stamp(w.f.Issued),
		Creator:    entity{ID: urn("gateway", w.f.Issuer), Type: "dpv:Entity", Identifier: w.f.Issuer},
		Publisher:  w.controllerID(),
		Language:   w.language,
		Decision:   w.f.DecisionID,
		Record:     w.record(),

		FieldLabels: w.fieldLabels(),
	}
}

func (w *writer) record() record {
	c := w.c
	return record{
		ID:         w.consentID(c.ID),
		Type:       "dpv:ConsentRecord",
		ConformsTo: "https://w3id.org/dpv/schema/dpv-27560#record",
		Identifier: c.ID,
		Language:   c.Evidence.NoticeLanguage,
		Replaces:   w.consentID(c.Supersedes),
		ReplacedBy: w.consentID(c.SupersededBy),
		Kind:       w.kind(),
		Scope:      w.scope(),
		Status:     w.status(),

		DataSubject:    w.dataSubject(),
		Controller:     w.controller(),
		Jurisdiction:   country(w.f.Jurisdiction),
		LegalBasis:     legalBasis,
		Policy:         policy{ID: urn("policy", w.f.PolicyVersion), Type: "dpv:Policy", Version: w.f.PolicyVersion, Digest: w.f.PolicyDigest},
		Notice:         notice{ID: urn("notice", c.Evidence.NoticeDigest), Type: "dpv:ConsentNotice", Language: c.Evidence.NoticeLanguage, Digest: c.Evidence.NoticeDigest},
		Process:        w.process(),
		ConsentControl: w.withdrawal(),
		Rights:         w.rights(),
		Events:         w.events(),
	}
}

// kind says what kind of consent it is. That a border is crossed by consent alone is the
// product's rule; what the policy says of the others is for the policy to say.
func (w *writer) kind() term {
	t := w.term("consent-kind", "", w.c.Kind.String())
	if w.c.Kind == residency.BorderCrossing {
		t.RuleOf = product
	}
	return t
}

// scope says whether the consent is a person's or the whole tenant's.
func (w *writer) scope() term {
	if w.c.WholeTenant {
		return w.term("scope", "", "WHOLE_TENANT")
	}
	return w.term("scope", "", "SUBJECT")
}

// dataSubject names the person as the tenant does or, for a consent of the
// whole tenant, everybody whose data the tenant holds.
func (w *writer) dataSubject() entity {
	if w.c.WholeTenant {
		return entity{ID: urn("tenant", w.f.Tenant, "subjects"), Type: "dpv:DataSubject", Identifier: w.f.Tenant, Label: w.label("everybody")}
	}
	return entity{ID: urn("tenant", w.f.Tenant, "subject", w.c.Subject), Type: "dpv:DataSubject", Identifier: w.c.Subject}
}

func (w *writer) controller() controller {
	return controller{
		ID: w.controllerID(), Type: "dpv:DataController", Identifier: w.controllerID(), Name: w.f.Controller,
		Jurisdiction: country(w.f.Jurisdiction),
		Address:      available(w.f.ControllerAddress), Contact: available(w.f.ControllerContact),
	}
}

// available gives a text, or that there is none.
func available(text string) any {
	if text == "" {
		return applicability{"dpv:NotAvailable"}
	}
	return text
}

func (w *writer) process() process {
	p := process{
		Type:       "dpv:Process",
		Processing: operations[w.c.Kind],
		From:       country(w.c.From),
		To:         country(w.c.To),
		Recipients: w.recipients(),
		Storage:    w.storage(),
		Conditions: w.conditions(),
	}
	for _, purpose := range w.c.Purposes.List() {
		p.Purposes = append(p.Purposes, w.term("purpose", purposeConcepts[purpose], purpose.String()))
	}
	for _, class := range w.c.Classes.List() {
		t := w.term("data-class", dataConcepts[class], class.String())
		if class == residency.PersonalInformation {
			t.Narrower = personalFields
		}
		if class == residency.AccountData { // names no person
			p.Data = append(p.Data, t)
			continue
		}
		p.PersonalData = append(p.PersonalData, t)
	}
	return p
}

// recipients are the services that a consent always reaches, and the recipients
// that it names.
func (w *writer) recipients() []entity {
	out := []entity{{ID: urn("recipient", "own-services"), Type: "dpv:Recipient", Label: w.label("own-services"), RuleOf: product}}
	for _, id := range w.c.Recipients {
		e := entity{ID: urn("tenant", w.f.Tenant, "recipient", id), Type: "dpv:Recipient", Identifier: id}
		if i := slices.IndexFunc(w.f.Recipients, func(r ReceiptRecipient) bool { return r.ID == id }); i >= 0 {
			r := &w.f.Recipients[i]
			e.Name, e.Kind, e.Country = r.Name, r.Kind.String(), country(r.Jurisdiction)
		}
		out = append(out, e)
	}
	return out
}

// storage says where what the consent is about is stored, and until when.
func (w *writer) storage() []conditions {
	return []conditions{
		{Type: "dpv:StorageLocation", Location: []string{country(w.f.Jurisdiction)}, Region: string(w.f.Region)},
		{Type: "dpv:StorageDuration", Duration: &duration{Type: "dpv:UntilEventDuration", Label: w.label("until-erased")}, RuleOf: product},
	}
}

// conditions say where the consent permits processing, and until when.
func (w *writer) conditions() []conditions {
	places := []string{country(w.c.From)}
	if w.c.To != w.c.From {
		places = append(places, country(w.c.To))
	}
	until := w.untilEnd()
	return []conditions{
		{Type: "dpv:ProcessingLocation", Location: places},
		{Type: "dpv:ProcessingDuration", Duration: &until},
	}
}

// untilEnd is the consent's own end.
func (w *writer) untilEnd() duration {
	return duration{Type: "dpv:UntilTimeDuration", Until: &timeValue{"xsd:dateTime", stamp(w.c.Expires)}}
}

// rights are what a person, or a tenant, may ask of the gateway beside
// withdrawing the consent.
func (w *writer) rights() []control {
	list := subjectRights
	if w.c.WholeTenant {
		list = tenantRights
	}
	var out []control
	for _, r := range list {
		if !r.ofDrives || w.c.Classes.Has(residency.VirtualDriveData) {
			out = append(out, w.control("dpv:DataSubjectRight", r))
		}
	}
	return out
}

// withdrawal says how the consent is taken back. The policy speaks of that for
// promotional offers alone.
func (w *writer) withdrawal() control {
	c := w.control("dpv:WithdrawConsent", withdrawal)
	if w.c.Kind != residency.MarketingOptIn {
		c.RuleOf = product
	}
	return c
}

func (w *writer) control(concept string, r right) control {
	return control{
		ID: urn("right", r.name), Type: concept, Label: w.label(r.name),
		ExercisedAt: "urn:domicile:method:residency.v1." + r.method,
	}
}

func (w *writer) controllerID() string { return urn("region", string(w.f.Region), "controller") }

// consentID gives a consent's name, or "" for none.
func (w *writer) consentID(id string) string {
	if id == "" {
		return ""
	}
	return urn("tenant", w.f.Tenant, "consent", id)
}
