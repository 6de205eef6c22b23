package main

import "fmt"

// storage shows each region's stores, keys and audit log.
var storage = dashboard{
	uid: "domicile-storage", title: "Domicile: storage and audit",
	about: "Whether each region answers, how its stores do, how fresh its audit log is and who has witnessed it, and what is done in the background.",
	rows: []row{
		{"Regions", []panel{
			{
				title: "Region up", kind: number, unit: "short", width: 8, steps: atLeast(1),
				good: "1 in each region.", bad: "0: a gateway has no answer from its rows, blobs, keys, audit log or policy.",
				do: "`/readyz` names the part. See the runbook of DomicileRegionDown.", queries: ask(`min by (region) (residency_region_up{`+inRegion+`})`, "{{region}}"),
			},
			{
				title: "Leaders", kind: number, unit: "short", width: 8, steps: []step{{0, "red"}, {1, "green"}, {2, "orange"}},
				good: "1 in each region.", bad: "0 for a minute: nothing is swept, counted or signed. 2 for longer than a change.",
				do: "look at the database; restart nothing.", queries: ask(`sum by (region) (residency_region_leader{`+inRegion+`})`, "{{region}}"),
			},
			{
				title: "Entries that no checkpoint holds", kind: number, unit: "short", width: 8, steps: atMost(10000),
				good: "what a second brings.", bad: "it grows.", do: "see the runbook of DomicileAuditBacklog.", queries: ask(`max by (region) (residency_audit_pending_entries{`+inRegion+`})`, "{{region}}"),
			},
			{
				title: "Region up, by gateway", kind: graph, unit: "short",
				good: "1.", bad: "0 at one gateway: its way to the stores. 0 at all: the stores.",
				do: "`/readyz` of that gateway names the part.", queries: ask(`residency_region_up{`+inRegion+`}`, "{{gateway}} {{region}}"),
			},
			{
				title: "Policies in force", kind: table, unit: "short",
				good: "one version in each region, at all its gateways.", bad: "two, or a version that some gateways do not have.",
				do: "give all gateways the same files.", queries: ask(`sum by (region, version) (residency_policy_info{`+inRegion+`})`, "gateways that go by it"),
			},
		}},
		{"Stores", []panel{
			{
				title: "Operations", kind: graph, unit: "ops",
				good: "they follow calls.", bad: "one store stops while calls come.", do: "see its errors.",
				queries: ask(observed(storing, inRegion, "region, store, operation"), "{{region}} {{store}} {{operation}}"),
			},
			{
				title: "Failed operations", kind: graph, unit: "ops",
				good: "none.", bad: "any that goes on: the store, its disk or the way there.", do: "the gateway's log has the store's own words.",
				queries: ask(rate("residency_store_errors_total", inRegion, "region, store, operation"), "{{region}} {{store}} {{operation}}"),
			},
			{
				title: "99 % of operations within", kind: graph, unit: "s",
				good: "milliseconds; blobs' commits tens of them.", bad: "update near 1.5 s, where decisions end as UNAVAILABLE.",
				do: "look at disks, the synchronous standby, locks. More clusters share a region's writes.", queries: ask(quantile(.99, storing, inRegion, "region, store, operation")+" >= 0", "{{region}} {{store}} {{operation}}"),
			},
			{
				title: "Keys in memory", kind: graph, unit: "short",
				good: "it follows the tenants and people in use.", bad: "it falls to 0 while calls come: the key store does not answer.",
				do: "see the runbook of DomicileKeysDown.", queries: ask(`residency_keys_cached{`+inRegion+`}`, "{{gateway}} {{region}}"),
			},
		}},
		{"Audit log", []panel{
			{
				title: "Entries", kind: graph, unit: "ops",
				good: "one for each decision, two for each stream.", bad: "none while calls are answered: report it.", do: "compare with calls in Service.",
				queries: ask(rate("residency_audit_entries_total", inRegion, "region"), "{{region}}"),
			},
			{
				title: "Decisions that could not be recorded", kind: graph, unit: "ops",
				good: "none.", bad: "any: each was answered UNAVAILABLE and nothing happened.", do: "mend the database: there is no way around the log.",
				queries: ask(rate("residency_audit_failures_total", inRegion, "region"), "{{region}}"),
			},
			{
				title: "Age of the newest checkpoint while entries wait", kind: graph, unit: "s",
				good: "0 to 2 s.", bad: "above a minute.", do: "see the runbook of DomicileCheckpointStale.",
				queries: ask(`max by (region) (residency_audit_checkpoint_age_seconds{`+inRegion+`})`, "{{region}}"),
			},
			{
				title: "Entries in the log, and waiting", kind: graph, unit: "short",
				good: "the log grows and few wait.", bad: "the log stands still and those that wait grow.", do: "see the runbook of DomicileAuditBacklog.",
				queries: []query{
					{`max by (region) (residency_audit_checkpoint_entries{` + inRegion + `})`, "{{region}} in the log"},
					{`max by (region) (residency_audit_pending_entries{` + inRegion + `})`, "{{region}} waiting"},
				},
			},
			{
				title: "Since the newest checkpoint, and since a witness signed", kind: graph, unit: "s",
				good: "both small while calls come; they grow together when none come.", bad: "that of the witness grows alone.",
				do: "see the runbook of DomicileUnwitnessed.",
				queries: []query{
					{`time() - max by (region) (residency_audit_checkpoint_timestamp_seconds{` + inRegion + `})`, "{{region}} checkpoint"},
					{`time() - max by (region) (residency_audit_witnessed_timestamp_seconds{` + inRegion + `})`, "{{region}} witnessed"},
				},
			},
			{
				title: "Without a witness's signature", kind: graph, unit: "s",
				good: "0.", bad: "minutes.", do: "the leader's log names the witness: the way there, the key that it has.",
				queries: ask(`max by (region) (residency_audit_witness_age_seconds{`+inRegion+`})`, "{{region}}"),
			},
			{
				title: "Checkpoints that contradict what a witness saw", kind: graph, unit: "short", steps: atMost(1),
				good: "0, for ever.", bad: "any: the log was forked or set back.", do: "see the runbook of DomicileWitnessContradicts before anything else.",
				queries: ask(`sum by (region) (residency_witness_failures_total{`+inRegion+`})`, "{{region}}"),
			},
		}},
		{"In the background", []panel{
			{
				title: "Tasks done and put off", kind: graph, unit: "ops",
				good: "done follows what is deleted.", bad: "put off goes on: the store of that region is away.", do: "the leader's log says why.",
				queries: ask(rate("residency_sweeps_total", inRegion, "region, kind, result"), "{{region}} {{kind}} {{result}}"),
			},
			{
				title: "Erasures that are not completed", kind: graph, unit: "short",
				good: "it falls to 0 within minutes.", bad: "it does not fall for an hour.", do: "see the runbook of DomicileErasuresPending.",
				queries: ask(`max by (region) (residency_erasures_pending{`+inRegion+`})`, "{{region}}"),
			},
			{
				title: "Erasures completed", kind: graph, unit: "short",
				good: "as people ask for them.", bad: "many of tenants at once.", do: "find in the audit log who asked.",
				queries: ask(fmt.Sprintf("sum by (region, kind) (increase(residency_erasures_total{%s}[1h]))", inRegion), "{{region}} {{kind}} in an hour"),
			},
		}},
	},
}

const storing = "residency_store_seconds"
