package consent

// The document's nodes. encoding/json writes a structure's members in the order
// in which they stand here, which makes the bytes repeatable.
type (
	document struct {
		Context     map[string]any `json:"@context"`
		ID          string         `json:"@id"`
		Type        string         `json:"@type"`
		ConformsTo  []string       `json:"dct:conformsTo"`
		Identifier  string         `json:"dct:identifier"`
		Created     string         `json:"dct:created"`
		Creator     entity         `json:"dct:creator"`
		Publisher   string         `json:"dct:publisher"`
		Language    string         `json:"dct:language"`
		Decision    string         `json:"domicile:decision,omitempty"`
		Record      record         `json:"dpv:hasRecordOfActivity"`
		FieldLabels []term         `json:"domicile:fieldLabel"`
	}
	record struct {
		ID             string     `json:"@id"`
		Type           string     `json:"@type"`
		ConformsTo     string     `json:"dct:conformsTo"`
		Identifier     string     `json:"dct:identifier"`
		Language       string     `json:"dct:language"`
		Replaces       string     `json:"dct:replaces,omitempty"`
		ReplacedBy     string     `json:"dct:isReplacedBy,omitempty"`
		Kind           term       `json:"domicile:consentKind"`
		Scope          term       `json:"domicile:scope"`
		Status         term       `json:"dpv:hasStatus"`
		DataSubject    entity     `json:"dpv:hasDataSubject"`
		Controller     controller `json:"dpv:hasDataController"`
		Jurisdiction   string     `json:"dpv:hasJurisdiction"`
		LegalBasis     string     `json:"dpv:hasLegalBasis"`
		Policy         policy     `json:"dpv:hasPolicy"`
		Notice         notice     `json:"dpv:hasNotice"`
		Process        process    `json:"dpv:hasProcess"`
		ConsentControl control    `json:"dpv:hasConsentControl"`
		Rights         []control  `json:"dpv:hasRight"`
		Events         []event    `json:"dpv:hasConsentStatus"`
	}
	// term is a value of a closed set: ours, as an instance of the closest DPV concept.
	term struct {
		ID         string   `json:"@id"`
		Type       string   `json:"@type,omitempty"`
		Identifier string   `json:"dct:identifier,omitempty"`
		Label      string   `json:"skos:prefLabel"`
		Narrower   []string `json:"skos:narrower,omitempty"`
		RuleOf     string   `json:"domicile:ruleOf,omitempty"`
	}
	entity struct {
		ID         string `json:"@id,omitempty"`
		Type       string `json:"@type"`
		Identifier string `json:"dct:identifier,omitempty"`
		Name       string `json:"dpv:hasName,omitempty"`
		Kind       string `json:"domicile:recipientKind,omitempty"`
		Country    string `json:"dpv:hasCountry,omitempty"`
		Label      string `json:"skos:prefLabel,omitempty"`
		AssertedBy string `json:"domicile:assertedBy,omitempty"`
		RuleOf     string `json:"domicile:ruleOf,omitempty"`
	}
	controller struct {
		ID           string `json:"@id"`
		Type         string `json:"@type"`
		Identifier   string `json:"dpv:hasIdentifier"`
		Name         string `json:"dpv:hasName"`
		Jurisdiction string `json:"dpv:hasJurisdiction"`
		Address      any    `json:"dpv:hasAddress"`
		Contact      any    `json:"dpv:hasContact"`
	}
	applicability struct {
		Applicability string `json:"dpv:hasApplicability"`
	}
	policy struct {
		ID      string `json:"@id"`
		Type    string `json:"@type"`
		Version string `json:"domicile:policyVersion"`
		Digest  string `json:"domicile:digest"`
	}
	notice struct {
		ID       string `json:"@id"`
		Type     string `json:"@type"`
		Language string `json:"dct:language"`
		Digest   string `json:"domicile:digest"`
	}
	process struct {
		Type         string       `json:"@type"`
		Purposes     []term       `json:"dpv:hasPurpose"`
		PersonalData []term       `json:"dpv:hasPersonalData,omitempty"`
		Data         []term       `json:"dpv:hasData,omitempty"`
		Processing   []typed      `json:"dpv:hasProcessing"`
		From         string       `json:"domicile:fromJurisdiction"`
		To           string       `json:"domicile:toJurisdiction"`
		Recipients   []entity     `json:"dpv:hasRecipient"`
		Storage      []conditions `json:"dpv:hasStorageCondition"`
		Conditions   []conditions `json:"dpv:hasProcessingCondition"`
	}
	typed struct {
		Type string `json:"@type"`
	}
	conditions struct {
		Type     string    `json:"@type"`
		Location []string  `json:"dpv:hasLocation,omitempty"`
		Region   string    `json:"domicile:region,omitempty"`
		Duration *duration `json:"dpv:hasDuration,omitempty"`
		RuleOf   string    `json:"domicile:ruleOf,omitempty"`
	}
	duration struct {
		Type  string     `json:"@type"`
		Until *timeValue `json:"rdf:value,omitempty"`
		Label string     `json:"skos:prefLabel,omitempty"`
	}
	timeValue struct {
		Type  string `json:"@type"`
		Value string `json:"@value"`
	}
	control struct {
		ID          string `json:"@id"`
		Type        string `json:"@type"`
		Label       string `json:"skos:prefLabel"`
		ExercisedAt string `json:"dpv:isExercisedAt"`
		RuleOf      string `json:"domicile:ruleOf,omitempty"`
	}
	event struct {
		Type          []string `json:"@type"`
		Change        string   `json:"domicile:change"`
		Label         string   `json:"skos:prefLabel"`
		Indicated     string   `json:"dpv:isIndicatedAtTime"`
		Recorded      string   `json:"dct:created"`
		IndicatedBy   entity   `json:"dpv:isIndicatedBy"`
		RecordedBy    *entity  `json:"dpv:isImplementedByEntity,omitempty"`
		Method        string   `json:"dpv:hasIndicationMethod,omitempty"`
		PolicyVersion string   `json:"domicile:policyVersion,omitempty"`
		Duration      duration `json:"dpv:hasDuration"`
	}
)
