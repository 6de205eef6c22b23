package consent

import (
	"slices"
	"strings"
)

// The notice exists in English, German and Bulgarian (clause languages), and so
// do the labels. German is written without ß, so that it is right in
// Switzerland too.
var labelLanguages = [...]string{"en", "de", "bg"}

// documentLanguage gives the language of a receipt whose notice was in the given
// one, and its column: the notice's own tag where there are labels for it, else English.
func documentLanguage(notice string) (tag string, column int) {
	base, _, _ := strings.Cut(strings.ToLower(notice), "-")
	if i := slices.Index(labelLanguages[:], base); i >= 0 {
		return notice, i
	}
	return labelLanguages[0], 0
}

// label gives a text in the document's language.
func (w *writer) label(key string) string { return valueLabels[key][w.column] }

// fieldLabels says what the document's fields are called in its language.
func (w *writer) fieldLabels() []term {
	out := make([]term, len(receiptFields))
	for i := range receiptFields {
		out[i] = term{ID: receiptFields[i].name, Label: receiptFields[i].label[w.column]}
	}
	return out
}

type labels [len(labelLanguages)]string

var receiptFields = []struct {
	name  string
	label labels
}{
	{"dct:conformsTo", labels{"Schema version", "Schemaversion", "Версия на схемата"}},
	{"dct:created", labels{"Recorded", "Erfasst am", "Записано на"}},
	{"dct:creator", labels{"Issued by", "Ausgestellt von", "Издадено от"}},
	{"dct:identifier", labels{"Identifier", "Kennung", "Идентификатор"}},
	{"dct:isReplacedBy", labels{"Replaced by", "Ersetzt durch", "Заменено от"}},
	{"dct:language", labels{"Language", "Sprache", "Език"}},
	{"dct:publisher", labels{"Published by", "Herausgegeben von", "Публикувано от"}},
	{"dct:replaces", labels{"Replaces", "Ersetzt", "Заменя"}},
	{"domicile:assertedBy", labels{"As asserted by", "Nach Angabe von", "По твърдение на"}},
	{"domicile:change", labels{"Change", "Änderung", "Промяна"}},
	{"domicile:consentKind", labels{"Kind of consent", "Art der Einwilligung", "Вид съгласие"}},
	{"domicile:decision", labels{"Decision", "Entscheid", "Решение"}},
	{"domicile:digest", labels{"Digest", "Prüfsumme", "Контролна сума"}},
	{"domicile:fieldLabel", labels{"Names of the fields", "Namen der Felder", "Имена на полетата"}},
	{"domicile:fromJurisdiction", labels{"From", "Von", "От"}},
	{"domicile:policyVersion", labels{"Policy version", "Version der Richtlinie", "Версия на политиката"}},
	{"domicile:recipientKind", labels{"Kind of recipient", "Art des Empfängers", "Вид получател"}},
	{"domicile:region", labels{"Region", "Region", "Регион"}},
	{"domicile:ruleOf", labels{"Rule of", "Regel von", "Правило на"}},
	{"domicile:scope", labels{"Scope", "Geltungsbereich", "Обхват"}},
	{"domicile:toJurisdiction", labels{"To", "Nach", "Към"}},
	{"dpv:hasAddress", labels{"Address", "Adresse", "Адрес"}},
	{"dpv:hasApplicability", labels{"Availability", "Verfügbarkeit", "Наличност"}},
	{"dpv:hasConsentControl", labels{"How to withdraw", "Widerruf", "Как се оттегля"}},
	{"dpv:hasConsentStatus", labels{"History", "Verlauf", "История"}},
	{"dpv:hasContact", labels{"Contact", "Kontakt", "Контакт"}},
	{"dpv:hasCountry", labels{"Country", "Land", "Държава"}},
	{"dpv:hasData", labels{"Other data", "Andere Daten", "Други данни"}},
	{"dpv:hasDataController", labels{"Controller", "Verantwortlicher", "Администратор"}},
	{"dpv:hasDataSubject", labels{"Person concerned", "Betroffene Person", "Субект на данните"}},
	{"dpv:hasDuration", labels{"Valid until", "Gültig bis", "Валидно до"}},
	{"dpv:hasIdentifier", labels{"Identifier", "Kennung", "Идентификатор"}},
	{"dpv:hasIndicationMethod", labels{"Given by way of", "Erteilt durch", "Начин на даване"}},
	{"dpv:hasJurisdiction", labels{"Jurisdiction", "Rechtsraum", "Юрисдикция"}},
	{"dpv:hasLegalBasis", labels{"Legal basis", "Rechtsgrundlage", "Правно основание"}},
	{"dpv:hasLocation", labels{"Place", "Ort", "Място"}},
	{"dpv:hasName", labels{"Name", "Name", "Име"}},
	{"dpv:hasNotice", labels{"Notice", "Hinweis", "Уведомление"}},
	{"dpv:hasPersonalData", labels{"Personal data", "Personendaten", "Лични данни"}},
	{"dpv:hasPolicy", labels{"Privacy policy", "Datenschutzrichtlinie", "Политика за поверителност"}},
	{"dpv:hasProcess", labels{"What is consented to", "Worin eingewilligt wird", "За какво е съгласието"}},
	{"dpv:hasProcessing", labels{"Processing", "Verarbeitung", "Обработване"}},
	{"dpv:hasProcessingCondition", labels{"Where and how long", "Wo und wie lange", "Къде и колко дълго"}},
	{"dpv:hasPurpose", labels{"Purposes", "Zwecke", "Цели"}},
	{"dpv:hasRecipient", labels{"Recipients", "Empfänger", "Получатели"}},
	{"dpv:hasRecordOfActivity", labels{"Consent record", "Einwilligungsnachweis", "Запис на съгласието"}},
	{"dpv:hasRight", labels{"Rights", "Rechte", "Права"}},
	{"dpv:hasStatus", labels{"State", "Stand", "Състояние"}},
	{"dpv:hasStorageCondition", labels{"Storage", "Aufbewahrung", "Съхранение"}},
	{"dpv:isExercisedAt", labels{"Exercised at", "Auszuüben bei", "Упражнява се чрез"}},
	{"dpv:isImplementedByEntity", labels{"Recorded by", "Erfasst durch", "Записано от"}},
	{"dpv:isIndicatedAtTime", labels{"When", "Wann", "Кога"}},
	{"dpv:isIndicatedBy", labels{"Who", "Wer", "Кой"}},
	{"rdf:value", labels{"Time", "Zeitpunkt", "Момент"}},
	{"skos:narrower", labels{"In particular", "Insbesondere", "По-специално"}},
	{product, labels{"the product, not the policy", "Produkt, nicht Richtlinie", "продукта, а не политиката"}},
}

var valueLabels = map[string]labels{
	"consent-kind:BORDER_CROSSING":       {"crossing a border", "Grenzübertritt", "преминаване на граница"},
	"consent-kind:MARKETING_OPT_IN":      {"promotional offers", "Werbeangebote", "рекламни предложения"},
	"consent-kind:PARENTAL":              {"a parent's consent", "Einwilligung der Eltern", "съгласие на родител"},
	"consent-kind:INSPECTION_PERMISSION": {"permission to inspect", "Erlaubnis zur Einsicht", "разрешение за преглед"},
	"consent-kind:RESIDENCE_AGREEMENT":   {"agreement to the place of storage", "Zustimmung zum Ort der Speicherung", "съгласие с мястото на съхранение"},

	"consent-state:ACTIVE":     {"in force", "in Kraft", "в сила"},
	"consent-state:WITHDRAWN":  {"withdrawn", "widerrufen", "оттеглено"},
	"consent-state:EXPIRED":    {"expired", "abgelaufen", "изтекло"},
	"consent-state:SUPERSEDED": {"superseded", "abgelöst", "заменено"},

	"change:RECORDED":       {"consent recorded", "Einwilligung erfasst", "съгласието е записано"},
	"change:SUPERSEDED":     {"replaced by a later consent", "durch eine spätere Einwilligung ersetzt", "заменено от по-късно съгласие"},
	"change:WITHDRAWN":      {"consent withdrawn", "Einwilligung widerrufen", "съгласието е оттеглено"},
	"change:EXPIRED":        {"consent expired", "Einwilligung abgelaufen", "съгласието е изтекло"},
	"change:POLICY_REVISED": {"voided by a revision of the policy", "durch eine neue Fassung der Richtlinie aufgehoben", "обезсилено от нова редакция на политиката"},

	"scope:SUBJECT":      {"one person", "eine Person", "едно лице"},
	"scope:WHOLE_TENANT": {"the whole tenant", "der ganze Mandant", "целият наемател"},

	"data-class:PERSONAL_INFORMATION": {"personal information", "Personendaten", "лична информация"},
	"data-class:VIRTUAL_DRIVE_DATA":   {"data on virtual drives", "Daten auf virtuellen Laufwerken", "данни на виртуални дискове"},
	"data-class:ACCOUNT_DATA":         {"account data that names nobody", "Kontodaten ohne Personenbezug", "данни за акаунта без връзка с лице"},

	"purpose:ENQUIRIES":               {"answering enquiries", "Beantwortung von Anfragen", "отговор на запитвания"},
	"purpose:SERVICE_PROVISION":       {"supplying the services", "Erbringung der Dienste", "предоставяне на услугите"},
	"purpose:PAYMENTS":                {"payments", "Zahlungen", "плащания"},
	"purpose:COMMUNICATION":           {"communication", "Kommunikation", "комуникация"},
	"purpose:MARKETING":               {"promotional offers", "Werbeangebote", "рекламни предложения"},
	"purpose:RECORDS":                 {"keeping records and accounts", "Führung von Akten und Konten", "водене на записи и акаунти"},
	"purpose:FRAUD_PREVENTION":        {"preventing fraud and abuse", "Verhinderung von Betrug und Missbrauch", "предотвратяване на измами и злоупотреби"},
	"purpose:CREDIT_RISK":             {"reducing credit risk", "Minderung des Kreditrisikos", "намаляване на кредитния риск"},
	"purpose:SUBCONTRACTED_FUNCTIONS": {"functions that others perform", "ausgelagerte Aufgaben", "функции, възложени на други"},
	"purpose:SESSION":                 {"keeping a session", "Aufrechterhaltung einer Sitzung", "поддържане на сесия"},
	"purpose:PERSONALISATION":         {"suiting the service to the person", "Anpassung an die Person", "съобразяване с лицето"},
	"purpose:BUSINESS_TRANSFER":       {"transfer of a business", "Übergang eines Geschäfts", "прехвърляне на търговска дейност"},
	"purpose:LEGAL_OBLIGATION":        {"a legal obligation", "rechtliche Verpflichtung", "правно задължение"},
	"purpose:INSPECTION":              {"inspection", "Einsicht", "преглед"},

	"withdraw":       {"withdraw the consent at any time", "die Einwilligung jederzeit widerrufen", "оттегляне на съгласието по всяко време"},
	"export":         {"be given the whole file", "die ganze Akte erhalten", "получаване на цялото досие"},
	"restrict":       {"restrict what the data is used for", "die Verwendung einschränken", "ограничаване на употребата"},
	"object":         {"decline automatic collection", "automatische Erhebung ablehnen", "отказ от автоматично събиране"},
	"erase":          {"have the person's data erased", "die Daten der Person löschen lassen", "заличаване на данните на лицето"},
	"restrict-drive": {"restrict what a drive is used for", "die Verwendung eines Laufwerks einschränken", "ограничаване на употребата на диск"},
	"erase-tenant":   {"have all of the tenant's data erased", "alle Daten des Mandanten löschen lassen", "заличаване на всички данни на наемателя"},

	"everybody":    {"everybody whose data the tenant holds", "alle, deren Daten der Mandant führt", "всички, чиито данни държи наемателят"},
	"own-services": {"the controller's and the tenant's own services", "eigene Dienste des Verantwortlichen und des Mandanten", "собствените услуги на администратора и на наемателя"},
	"until-erased": {"until it is erased, or until the end that a record states", "bis zur Löschung oder bis zum Ende, das ein Eintrag nennt", "до заличаването или до края, посочен в записа"},
	"clock":        {"the region's clock", "Uhr der Region", "часовникът на региона"},
}
