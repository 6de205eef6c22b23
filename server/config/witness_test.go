package config

import (
	"strings"
	"testing"
)

const (
	aWitness = `{key: "witness.example.org+cf297618+BGQtXZE1OArFVvz80RFPvowwAykaJhjQPbC3wdxpQ/Yy", url: "https://witness.example.org", ca: /etc/ca.pem}`
	aLog     = `"audit.us.example.org/us/iad-1+daeccbd8+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"`

	withWitness = "    witnesses: [" + aWitness + "]\n    endpoint:"
	withLogs    = "logs: [" + aLog + "], attests:"
)

func TestWitnessesAreRead(t *testing.T) {
	text := strings.Replace(strings.Replace(withPeer, "    endpoint:", withWitness, 1), "attests:", withLogs, 1)
	c, err := load(t, text)
	if err != nil {
		t.Fatal(err)
	}
	w, logs := c.Regions["ch"].Witnesses, c.Regions["us"].Peer.Logs
	if len(w) != 1 || w[0].URL != "https://witness.example.org" || w[0].CA != "/etc/ca.pem" || len(logs) != 1 {
		t.Errorf("read as %+v, %q", w, logs)
	}
	ch := c.Regions["ch"]
	if name := ch.WitnessName("ch"); name != "domicile.local/ch/witness" {
		t.Errorf("the region cosigns as %s", name)
	}
	local := strings.Replace(text, "https://witness.example.org", "http://127.0.0.1:8080/w", 1)
	if _, err := load(t, local); err != nil {
		t.Error(err)
	}
}

func TestWitnessesThatAreRefused(t *testing.T) {
	base := strings.Replace(strings.Replace(withPeer, "    endpoint:", withWitness, 1), "attests:", withLogs, 1)
	const at, log = "regions.ch.witnesses[0].", "regions.us.peer.logs[0]: want an audit log's public key"
	for name, tt := range map[string]struct{ old, new, want string }{
		"no key":             {`key: "witness.example.org+cf297618+BGQ`, `key: "BGQ`, at + "key: want a witness's public key"},
		"half a key":         {"xpQ/Yy", "xpQ", at + "key: want"},
		"a log's key":        {"witness.example.org+cf297618+BGQtXZE1OArFVvz80RFPvowwAykaJhjQPbC3wdxpQ/Yy", "audit.us.example.org/us/iad-1+daeccbd8+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c", at + "key: want"},
		"twice":              {"[" + aWitness, "[" + aWitness + ", " + aWitness, "regions.ch.witnesses[1].key: is another witness's already"},
		"too many":           {"[" + aWitness, "[" + strings.Repeat(aWitness+", ", 8) + aWitness, "regions.ch.witnesses: want at most 8"},
		"no URL":             {"https://witness.example.org", "", at + "url: want"},
		"in clear":           {"https://witness", "http://witness", at + "url: want https"},
		"with a password":    {"https://witness", "https://me:secret@witness", at + "url: want"},
		"with a query":       {"org\", ca", "org?x=1\", ca", at + "url: want"},
		"a relative CA":      {"/etc/ca.pem", "ca.pem", at + "ca: want an absolute path"},
		"a log without key":  {"+AYqI4910", "+", log},
		"a witness as a log": {aLog, `"witness.example.org+cf297618+BGQtXZE1OArFVvz80RFPvowwAykaJhjQPbC3wdxpQ/Yy"`, log},
		"a log of no region": {aLog, `"audit.us.example.org/iad-1+3ff6d139+ATLQlWnDrLmbx5ocJT7M9GXlEvOzLFPOGiXpJ1Qw5KIL"`, log + ", ORIGIN+HASH+BASE64, as audit checkpoint tells it: the key is of \"audit.us.example.org/iad-1\": want a log's, whose origin ends in /REGION/CLUSTER"},
		"another's log":      {aLog, `"audit.us.example.org/ch/iad-1+cf6cac4c+ATLQlWnDrLmbx5ocJT7M9GXlEvOzLFPOGiXpJ1Qw5KIL"`, "regions.us.peer.logs[0]: is the key of a log of region ch, audit.us.example.org/ch/iad-1: want one whose origin ends in /us/CLUSTER"},
		"a peer's witnesses": {"    peer:", "    witnesses: [" + aWitness + "]\n    peer:", "regions.us: is served by its peer"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(base, tt.old, tt.new, 1)
			if text == base {
				t.Fatal("nothing was changed")
			}
			_, err := load(t, text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("a password is told: %v", err)
			}
		})
	}
}
