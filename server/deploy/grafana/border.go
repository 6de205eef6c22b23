package main

// border shows what crosses between jurisdictions and what is kept from it.
var border = dashboard{
	uid: "domicile-border", title: "Domicile: the border",
	about: "What crosses between jurisdictions, what is blocked and by which clause, and the consents that it rests on. No tenant, person or caller is named.",
	rows: []row{
		{"In the time shown", []panel{
			{
				title: "Crossings allowed", kind: number, unit: "short",
				good: "as many as your applications are meant to make.", bad: "some where you expect none.",
				do:      "see below from where to where; `domicile audit decisions` has each with its consent.",
				queries: ask("sum ("+abroad(total(decisions, allowed, "from, to"), total(decisions, allowed, "from"))+") or vector(0)", "allowed"),
			},
			{
				title: "Crossings blocked", kind: number, unit: "short",
				good: "few, and steady.", bad: "a jump: somebody probes, or an application has changed.",
				do: "see below by which clause; the audit log has who asked.", queries: ask(total(blocked, own, ""), "blocked"),
			},
			{
				title: "Crossed with consent", kind: number, unit: "bytes",
				good: "what your applications are meant to send.", bad: "much more than usual.",
				do: "see below of which class; the usage and the decisions of tenants have the rest.", queries: ask(total(borderBytes, own, ""), "bytes"),
			},
			{
				title: "Withdrawals take at most", kind: number, unit: "s", steps: atMost(1.5),
				good: "1 to 1.5 s: a withdrawal waits out what was permitted before.", bad: "above 1.5 s.",
				do: "look at the load of gateways and stores; see the runbook of DomicileRevocationSlow.", queries: ask(quantile(1, revocation, own, ""), "longest"),
			},
			{
				title: "Consents in force", kind: number, unit: "short",
				good: "it follows what people grant and withdraw.", bad: "it falls at once: a new policy voided them, or their time is over.",
				do: "see consents below, by kind.", queries: ask(`sum (residency_consents{`+inRegion+`,state="ACTIVE"})`, "active"),
			},
			{
				title: "Alerts", kind: number, unit: "short", steps: atMost(1),
				good: "0.", bad: "any.", do: "open Alertmanager: each alert leads to its runbook.", queries: ask("count ("+alertsExpr+") or vector(0)", "firing"),
			},
		}},
		{"Who to whom", []panel{
			{
				title: "Allowed across a border", kind: graph, unit: "ops",
				good: "the pairs that your consents are for.", bad: "a pair that should have none.",
				do:      "find the decisions of that pair in the audit log, and the consents that they name.",
				queries: ask(abroad(rate(decisions, allowed, "from, to"), rate(decisions, allowed, "from")), "{{from}} → {{to}}"),
			},
			{
				title: "Blocked at the border", kind: graph, unit: "ops",
				good: "little: clients know what they may ask for.", bad: "a jump. DomicileBlockedSpike tells of it.",
				do: "see by which clause and reason; find the caller in the audit log.", queries: ask(rate(blocked, own, "from, to"), "{{from}} → {{to}}"),
			},
			{
				title: "Blocked by clause of the policy", kind: graph, unit: "ops",
				good: "the clauses on consents to cross.", bad: "a clause that no application should meet.",
				do:      "`domicile policy explain` tells what the clause asks for.",
				queries: ask(rate("residency_blocked_by_clause_total", own, "from, to, clause"), "{{from}} → {{to}} {{clause}}"),
			},
			{
				title: "Blocked by reason", kind: graph, unit: "ops",
				good: "CROSS_BORDER_CONSENT_REQUIRED of new callers.", bad: "CONSENT_WITHDRAWN or CONSENT_EXPIRED that go on: an application asks for what it lost.",
				do: "tell the application's people; have the consents granted anew if that is what the persons want.", queries: ask(rate(blocked, own, "reason, data_class"), "{{reason}} {{data_class}}"),
			},
			{
				title: "Bytes that crossed", kind: graph, unit: "Bps",
				good: "what your applications are meant to send.", bad: "drive data where only records are expected, or a level that is new.",
				do: "see DomicileBorderBytesUnexplained; ask the audit log for the decisions.", queries: ask(rate(borderBytes, own, "from, to, data_class"), "{{from}} → {{to}} {{data_class}}"),
			},
			{
				title: "The border in the time shown", kind: table, unit: "short",
				good: "rows that you can explain.", bad: "a pair or class that should not be there.",
				do: "ask the audit log for its decisions.",
				queries: []query{
					{abroad(total(decisions, allowed, "from, to, data_class"), total(decisions, allowed, "from")), "allowed"},
					{total(blocked, own, "from, to, data_class"), "blocked"},
					{total(borderBytes, own, "from, to, data_class"), "bytes"},
				},
			},
			{
				title: "All decisions", kind: graph, unit: "ops",
				good: "mostly ALLOW.", bad: "DENY grows against ALLOW.", do: "see which reasons, on the right.",
				queries: ask(rate(decisions, own, "action, outcome"), "{{action}} {{outcome}}"),
			},
			{
				title: "Denied, by reason", kind: graph, unit: "ops",
				good: "few.", bad: "one reason jumps: an application has changed, or the policy has.",
				do: "`domicile policy diff` tells what a new version denies; the audit log tells who asks.", queries: ask(rate(decisions, own+`,outcome="DENY"`, "reason"), "{{reason}}"),
			},
		}},
		{"Consents", []panel{
			{
				title: "Where consents stand", kind: graph, unit: "short",
				good: "ACTIVE follows what people grant.", bad: "EXPIRED or SUPERSEDED rise at once.",
				do:      "see which policy version came into force; ask for consents before they end.",
				queries: ask(`sum by (kind, state) (residency_consents{`+inRegion+`}) > 0`, "{{kind}} {{state}}"),
			},
			{
				title: "Granted, superseded and withdrawn", kind: graph, unit: "ops",
				good: "as people decide.", bad: "a wave of withdrawals: they heard of something.",
				do: "find out what; withdrawals are always taken.", queries: ask(rate("residency_consent_changes_total", inRegion, "region, change"), "{{region}} {{change}}"),
			},
			{
				title: "How long withdrawals take", kind: graph, unit: "s",
				good: "1 to 1.5 s.", bad: "above 1.5 s: more than what is promised.", do: "see the runbook of DomicileRevocationSlow.",
				queries: []query{{quantile(.5, revocation, own, ""), "half"}, {quantile(.99, revocation, own, ""), "99 %"}, {quantile(1, revocation, own, ""), "longest"}},
			},
			{
				title: "First safeguard agreement to end", kind: graph, unit: "s",
				good: "more than 30 days.", bad: "below 30 days; after its end disclosures to its recipient are refused.",
				do: "have it renewed and UpdateRecipient called, or revoke the recipient.", queries: ask(`min by (region) (residency_safeguard_expiry_seconds{`+inRegion+`})`, "{{region}}"),
			},
		}},
	},
}

const (
	decisions   = "residency_decisions_total"
	allowed     = own + `,outcome="ALLOW"`
	blocked     = "residency_blocked_transfers_total"
	borderBytes = "residency_border_bytes_total"
	revocation  = "residency_revocation_seconds"
)
