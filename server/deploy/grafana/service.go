package main

import "fmt"

// service shows how calls are served.
var service = dashboard{
	uid: "domicile-service", title: "Domicile: the service",
	about: "Rate, errors and duration of every method, the way to the other regions' gateways, and how near gateways are to their limits.",
	rows: []row{
		{"Now", []panel{
			{
				title: "Gateways that answer", kind: number, unit: "short", steps: atLeast(1),
				good: "all that you run.", bad: "one less.", do: "see the runbook of DomicileGatewayDown.", queries: ask(`sum (up{`+process+`})`, "up"),
			},
			{
				title: "Calls", kind: number, unit: "reqps",
				good: "what is usual at this hour.", bad: "none, or several times as many.", do: "see which methods, below.", queries: ask(rate(handled, process, ""), "calls"),
			},
			{
				title: "Failing calls", kind: number, unit: "percentunit", steps: atMost(.001),
				good: "below 0.1 %. Denials are no failures.", bad: "0.1 % and more: the month's budget is being used up.",
				do: "see which codes and methods, below.", queries: ask(errorRatio(""), "failing"),
			},
			{
				title: "99 % of calls within", kind: number, unit: "s",
				good: "below 0.1 s.", bad: "seconds.", do: "see which methods, and how long decisions and stores take.", queries: ask(quantile(.99, handling, process+`,grpc_type="unary"`, ""), "99 %"),
			},
			{
				title: "Panics", kind: number, unit: "short", steps: atMost(1),
				good: "0.", bad: "any.", do: "report it with the log's lines; the call got an error and nothing else happened.",
				queries: ask(total("residency_panics_total", own, ""), "panics"),
			},
			{
				title: "Alerts", kind: number, unit: "short", steps: atMost(1),
				good: "0.", bad: "any.", do: "open Alertmanager: each alert leads to its runbook.", queries: ask("count ("+alertsExpr+") or vector(0)", "firing"),
			},
		}},
		{"Calls", []panel{
			{
				title: "Calls by method", kind: graph, unit: "reqps",
				good: "the usual mix.", bad: "one method takes over.", do: "find the caller in the gateways' logs of calls.",
				queries: ask(rate(handled, process, "grpc_service, grpc_method")+" > 0", "{{grpc_service}}/{{grpc_method}}"),
			},
			{
				title: "Failing calls by code", kind: graph, unit: "reqps",
				good: "none.", bad: "Unavailable: a region, its keys or its log do not answer. DataLoss: bytes do not open; stop writers.",
				do: "see Storage and audit for what is down; never look for a way around the log.", queries: ask(rate(handled, failing, "grpc_method, grpc_code"), "{{grpc_method}} {{grpc_code}}"),
			},
			{
				title: "Other answers by code", kind: graph, unit: "reqps",
				good: "denials at their usual level.", bad: "a jump of PermissionDenied or Unauthenticated after a change of callers, certificates or policies.",
				do: "see Border for reasons and clauses; undo the change.", queries: ask(rate(handled, process+`,grpc_code!~"OK|`+failures+`"`, "grpc_code"), "{{grpc_code}}"),
			},
			{
				title: "How long unary calls take", kind: graph, unit: "s",
				good: "half within milliseconds, 99 % within 0.1 s. WithdrawConsent takes a second by design.", bad: "all of them rise together: a store or a disk.",
				do: "compare with how long decisions take, and with Storage and audit.",
				queries: []query{
					{quantile(.5, handling, process+`,grpc_type="unary"`, ""), "half"},
					{quantile(.9, handling, process+`,grpc_type="unary"`, ""), "90 %"},
					{quantile(.99, handling, process+`,grpc_type="unary"`, ""), "99 %"},
				},
			},
			{
				title: "99 % of each method within", kind: graph, unit: "s",
				good: "each at its usual level. Streams last as long as their callers read.", bad: "GetRecord or PutRecord above 0.1 s.",
				do: "see how long decisions and stores take.", queries: ask(quantile(.99, handling, process, "grpc_method")+" >= 0", "{{grpc_method}}"),
			},
			{
				title: "How long decisions take", kind: graph, unit: "s",
				good: "a few milliseconds: one durable write.", bad: "near 1.5 s, where they end as UNAVAILABLE.",
				do:      "look at rows in Storage and audit: the disk, the standby, locks.",
				queries: []query{{quantile(.5, deciding, own, ""), "half"}, {quantile(.99, deciding, own, ""), "99 %"}},
			},
			{
				title: "Failing calls in the last hour, of all", kind: graph, unit: "percentunit",
				good: "below 0.1 %, what a month allows on average.", bad: "1.44 %: a month's budget is gone in two days, and somebody is woken.",
				do: "see the runbook of DomicileErrorsFast.", queries: ask(`gateway:grpc_server_errors:ratio_rate1h{`+own+`}`, "{{gateway}}"),
			},
			{
				title: "Slow GetRecord and PutRecord in the last hour, of all", kind: graph, unit: "percentunit",
				good: "below 1 %.", bad: "14.4 %: a month's budget is gone in two days.",
				do: "see the runbook of DomicileLatencyFast.", queries: ask(`gateway:grpc_server_slow:ratio_rate1h{`+own+`}`, "{{gateway}}"),
			},
		}},
		{"The other regions' gateways", []panel{
			{
				title: "Regions served elsewhere that can be reached", kind: graph, unit: "short",
				good: "1.", bad: "0: calls for its tenants are refused here, and no tenant can be registered.",
				do: "see the runbook of DomicilePeerDown.", queries: ask(`residency_peer_up{`+inRegion+`}`, "{{gateway}} to {{region}}"),
			},
			{
				title: "Calls to peers", kind: graph, unit: "reqps",
				good: "OK, and denials as usual.", bad: "Unavailable or DeadlineExceeded.", do: "look at the way there and at the region's own dashboard.",
				queries: ask(rate("grpc_client_handled_total", process, "grpc_method, grpc_code")+" > 0", "{{grpc_method}} {{grpc_code}}"),
			},
			{
				title: "99 % of calls to peers within", kind: graph, unit: "s",
				good: "what the distance costs, more than at home.", bad: "it rises, and the region itself does not.",
				do: "look at the network between the regions.", queries: ask(quantile(.99, "grpc_client_handling_seconds", process, "grpc_method")+" >= 0", "{{grpc_method}}"),
			},
		}},
		{"Limits", []panel{
			{
				title: "Connections", kind: graph, unit: "short",
				good: "well below the limit.", bad: "near it: further ones are closed at once.",
				do: "find callers that do not share connections, or raise limits.connections.", queries: limited("residency_connections", "connections"),
			},
			{
				title: "Calls at once", kind: graph, unit: "short",
				good: "well below the limit.", bad: "near it: further ones are answered OVERLOADED.",
				do: "add a gateway, or find the caller that sends too many.", queries: limited("residency_in_flight", "in_flight"),
			},
			{
				title: "Refused before any decision", kind: graph, unit: "reqps",
				good: "little.", bad: "NO_IDENTITY or CALLER_NOT_PERMITTED jump after a change; OVERLOADED at all.",
				do: "undo the change: it is taken within a second. For OVERLOADED see Calls at once.", queries: ask(rate("residency_refusals_total", own, "reason"), "{{reason}}"),
			},
			{
				title: "Connections refused", kind: graph, unit: "reqps",
				good: "none.", bad: "expired or unknown_authority: a caller's certificate. too many: the limit.",
				do: "renew the certificate; mend client_ca.",
				queries: []query{
					{rate("residency_handshakes_refused_total", own, "reason"), "{{reason}}"},
					{rate("residency_connections_refused_total", own, ""), "too many"},
				},
			},
			{
				title: "Streams cut", kind: graph, unit: "ops",
				good: "CONSENT_WITHDRAWN as people withdraw; AUDIT_UNAVAILABLE and OVERLOADED never.", bad: "any reason that goes on.",
				do: "the reason says what ended them; streams can be begun again.", queries: ask(rate("residency_streams_cut_total", own, "reason"), "{{reason}}"),
			},
			{
				title: "Memory", kind: graph, unit: "bytes",
				good: "the process stays below one and a half times the limit of its heap.", bad: "it goes on rising.",
				do: "add a gateway; streams to S3 take up to 10 MiB each.",
				queries: []query{
					{`process_resident_memory_bytes{` + process + `}`, "{{gateway}} process"},
					{`residency_limit{` + own + `,limit="memory_bytes"}`, "{{gateway}} limit of the heap"},
				},
			},
			{
				title: "Processor", kind: graph, unit: "short",
				good: "fewer cores than the machine has.", bad: "all of them, for minutes.", do: "add a gateway; see which methods grew.",
				queries: ask(fmt.Sprintf("rate(process_cpu_seconds_total{%s}[%s])", process, over), "{{gateway}}"),
			},
			{
				title: "Goroutines and open files", kind: graph, unit: "short",
				good: "they follow calls and connections.", bad: "they rise and never fall.", do: "report it with a profile.",
				queries: []query{{`go_goroutines{` + process + `}`, "{{gateway}} goroutines"}, {`process_open_fds{` + process + `}`, "{{gateway}} files"}},
			},
		}},
		{"Upkeep", []panel{
			{
				title: "Certificates end in", kind: graph, unit: "s",
				good: "more than 30 days.", bad: "below 30 days; at 0 no connection succeeds.",
				do: "put new files in place of the old, the key first; they are taken within a second.", queries: ask(`min by (gateway, use) (residency_certificate_expiry_seconds{`+own+`})`, "{{gateway}} {{use}}"),
			},
			{
				title: "Changed files taken into use", kind: graph, unit: "ops",
				good: "ok after each change.", bad: "failed: the old files go on being used.", do: "the log says what is wrong with the file.",
				queries: ask(rate("residency_reloads_total", own, "what, result"), "{{what}} {{result}}"),
			},
			{
				title: "Programs", kind: table, unit: "short",
				good: "one version, but during an upgrade.", bad: "two for longer.", do: "finish the upgrade.",
				queries: ask(`count by (gateway, version, revision, goversion) (domicile_build_info{`+own+`})`, "processes"),
			},
			{
				title: "Drive data", kind: graph, unit: "Bps",
				good: "what is usual.", bad: "inspect at all, if nobody has a case or a permission.", do: "`domicile case list` tells of cases.",
				queries: ask(rate("residency_drive_bytes_total", inRegion, "region, direction"), "{{region}} {{direction}}"),
			},
		}},
	},
}

const (
	handled  = "grpc_server_handled_total"
	handling = "grpc_server_handling_seconds"
	deciding = "residency_decision_seconds"

	// failures are the codes that are the service's fault. A denial is an answer.
	failures = "Unavailable|Internal|DataLoss|Unknown|DeadlineExceeded"
	failing  = process + `,grpc_code=~"` + failures + `"`
)

// errorRatio is the part of calls that failed; 0 when there were calls and none failed.
func errorRatio(by string) string {
	all := rate(handled, process, by)
	return fmt.Sprintf("(%s or 0 * %s)\n/\n%s", rate(handled, failing, by), all, all)
}

// limited is what is in use and how much may be.
func limited(metric, limit string) []query {
	return []query{
		{metric + "{" + own + "}", "{{gateway}}"},
		{"residency_limit{" + own + `,limit="` + limit + `"}`, "{{gateway}} limit"},
	}
}
