package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A day's calls are made here together with what a report must count for each, which is written down call by
// call and not taken from the entries.

// entryValues are an entry's fields by tag: uint64, string, []string or, where there is none, nil.
type entryValues map[int]any

// encode writes an entry, as FORMAT.md has it.
func (v entryValues) encode(place int) []byte {
	all := entryValues{1: uint64(place)}
	for tag, value := range v {
		all[tag] = value
	}
	tags := make([]int, 0, len(all))
	for tag := range all {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	b := []byte{1}
	put := func(tag int, value []byte) {
		b = append(binary.AppendUvarint(append(b, byte(tag)), uint64(len(value))), value...)
	}
	for _, tag := range tags {
		switch x := all[tag].(type) {
		case uint64:
			put(tag, binary.AppendUvarint(nil, x))
		case string:
			put(tag, []byte(x))
		case []string:
			for _, one := range x {
				put(tag, []byte(one))
			}
		}
	}
	return b
}

// with gives the fields with others on top.
func (v entryValues) with(others entryValues) entryValues {
	out := maps.Clone(v)
	maps.Copy(out, others)
	return out
}

// idOf makes 16 bytes of a name.
func idOf(parts ...any) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(parts...)))
	return string(sum[:16])
}

func uuidOf(id string) string {
	s := fmt.Sprintf("%x", id)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// keyedLog is a log in a folder.
type keyedLog struct{ dir, key string }

// checkpointOf signs a log's first entries.
func (l keyedLog) checkpointOf(t *testing.T, origin string, entries [][]byte) []byte {
	t.Helper()
	skey, _, err := note.GenerateKey(strings.NewReader(strings.Repeat("a seed", 32)), origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	hashes := hashesOf(t, entries)
	root, err := tlog.TreeHash(int64(len(entries)), hashes)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", origin, len(entries), base64.StdEncoding.EncodeToString(root[:]))
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func hashesOf(t *testing.T, entries [][]byte) (hashes storedHashes) {
	t.Helper()
	for i, e := range entries {
		more, err := tlog.StoredHashes(int64(i), e, hashes)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, more...)
	}
	return hashes
}

// writeLog writes a log of entries into a new folder.
func writeLog(t *testing.T, origin string, entries [][]byte) keyedLog {
	t.Helper()
	_, vkey, err := note.GenerateKey(strings.NewReader(strings.Repeat("a seed", 32)), origin)
	if err != nil {
		t.Fatal(err)
	}
	l := keyedLog{filepath.Join(t.TempDir(), "log"), vkey}
	hashes := hashesOf(t, entries)
	for _, tile := range tlog.NewTiles(8, 0, int64(len(entries))) {
		data, err := tlog.ReadTileData(tile, hashes)
		if err != nil {
			t.Fatal(err)
		}
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		writeTestFile(t, filepath.Join(l.dir, path), data)
		if tile.L > 0 {
			continue
		}
		var bundle []byte
		for _, e := range entries[tile.N*256 : tile.N*256+int64(tile.W)] {
			bundle = append(binary.BigEndian.AppendUint16(bundle, uint16(len(e))), e...)
		}
		writeTestFile(t, filepath.Join(l.dir, strings.Replace(path, "tile/0/", "tile/entries/", 1)), bundle)
	}
	writeTestFile(t, filepath.Join(l.dir, "checkpoint"), l.checkpointOf(t, origin, entries))
	return l
}

// reference counts what a report must say: by period, region, section, texts and count, joined by bars.
type reference struct {
	counts map[string]uint64
	seen   map[string]bool
}

func (r *reference) add(where, section, row, count string, n uint64) {
	r.counts[strings.Join([]string{where, section, row, count}, "|")] += n
}

func (r *reference) differ(where, section, row, count, thing string) {
	key := strings.Join([]string{where, section, row, count, thing}, "|")
	if !r.seen[key] {
		r.seen[key] = true
		r.add(where, section, row, count, 1)
	}
}

// reportWorld makes calls and counts them.
type reportWorld struct {
	region, home string
	rand         *rand.Rand
	now          time.Time
	entries      [][]byte
	want         reference
	calls        int
}

// The moment at which each world begins: a quarter of an hour before a month's third day.
var worldBegins = time.Date(2026, 11, 2, 23, 45, 0, 0, time.UTC)

func newReportWorld(region, home string) *reportWorld {
	return &reportWorld{
		region: region, home: home, rand: rand.New(rand.NewPCG(1, uint64(home[0]))), now: worldBegins,
		want: reference{counts: map[string]uint64{}, seen: map[string]bool{}},
	}
}

// day is where a moment's counts stand.
func (w *reportWorld) where() string {
	day := w.now.Truncate(24 * time.Hour)
	return day.Format(time.DateOnly) + "/" + day.AddDate(0, 0, 1).Format(time.DateOnly) + "|" + w.region
}

// append adds an entry to the log, a moment later.
func (w *reportWorld) append(v entryValues) {
	w.now = w.now.Add(time.Duration(1+w.rand.IntN(int(20*time.Second))) * time.Nanosecond)
	w.entries = append(w.entries, v.with(entryValues{2: uint64(w.now.UnixNano()), 7: w.region, 8: "gw-1"}).encode(len(w.entries)+1))
	w.want.add(w.where(), "totals", "", "entries", 1)
	if tenant, ok := v[9].(string); ok {
		w.want.differ(w.where(), "totals", "", "tenants", tenant)
	}
}

// call makes a call's first entry of a tenant of five, allowed or not.
func (w *reportWorld) call(method string, v entryValues) entryValues {
	w.calls++
	version := "v-2026"
	digest := sha256.Sum256([]byte(w.region))
	e := entryValues{
		3: idOf("decision", w.region, w.calls), 4: uint64(1), 5: "/residency.v1." + method, 6: "spiffe://domicile.test/app",
		9: idOf("tenant", w.rand.IntN(5)), 12: uint64(1), 15: "product/border", 16: version, 17: string(digest[:]), 18: "Controller " + w.region,
		21: w.home, 22: w.home,
	}.with(v)
	w.append(e)
	where := w.where()
	w.want.add(where, "totals", "", "decisions", 1)
	w.want.add(where, "policies", "Controller "+w.region+"|"+version+"|sha256:"+fmt.Sprintf("%x", digest), "decisions", 1)
	if e[12] == nil {
		w.want.add(where, "totals", "", "denied", 1)
	} else {
		w.want.add(where, "totals", "", "allowed", 1)
	}
	return e
}

// denied are the fields of a refusal: reason number, clause.
func denied(reason uint64, clause string) entryValues {
	return entryValues{12: nil, 13: reason, 15: clause}
}

// transfer expects a permitted access.
func (w *reportWorld) transfer(row string, consents ...string) {
	w.want.add(w.where(), "transfers", row, "accesses", 1)
	for _, id := range consents {
		w.want.differ(w.where(), "transfers", row, "consents", id)
	}
	if from, to := row[:2], row[3:5]; from != to {
		w.want.add(w.where(), "totals", "", "crossings", 1)
	}
}

// carries expects bytes.
func (w *reportWorld) carries(row, purpose string, n uint64) {
	w.want.add(w.where(), "totals", "", "bytes", n)
	w.want.add(w.where(), "transfers", row, "bytes", n)
	if purpose != "" {
		w.want.add(w.where(), "purposes", purpose, "bytes", n)
	}
}

func (w *reportWorld) expect(section, row string, counts ...string) {
	for _, count := range counts {
		w.want.add(w.where(), section, row, count, 1)
	}
}

func (w *reportWorld) abroad() string {
	return map[string]string{"CH": "US", "US": "CH"}[w.home]
}

// The calls. Each makes entries and expects counts.
var worldCalls = []func(w *reportWorld){
	func(w *reportWorld) { // a read at home
		n := uint64(w.rand.IntN(900) + 1)
		w.call("RecordService/GetRecord", entryValues{23: uint64(2), 24: uint64(1), 25: uint64(2), 28: n, 15: "purpose"})
		row := w.home + "|" + w.home + "||PERSONAL_INFORMATION|USE|home"
		w.transfer(row)
		w.expect("purposes", "SERVICE_PROVISION|PERSONAL_INFORMATION|USE", "accesses")
		w.carries(row, "SERVICE_PROVISION|PERSONAL_INFORMATION|USE", n)
	},
	func(w *reportWorld) { // one of what is not there
		w.call("RecordService/GetRecord", entryValues{23: uint64(2), 24: uint64(1), 25: uint64(2), 27: uint64(34)})
		row := w.home + "|" + w.home + "||PERSONAL_INFORMATION|USE|home"
		w.transfer(row)
		w.expect("transfers", row, "failed")
		w.expect("totals", "", "failed")
		w.expect("purposes", "SERVICE_PROVISION|PERSONAL_INFORMATION|USE", "accesses")
	},
	func(w *reportWorld) { // a read abroad, by consents of a few
		n := uint64(w.rand.IntN(900) + 1)
		first, second := idOf("consent", w.rand.IntN(7)), idOf("consent", 7+w.rand.IntN(7))
		w.call("RecordService/ListRecords", entryValues{19: uuidOf(first), 22: w.abroad(), 23: uint64(2), 24: uint64(1), 25: uint64(3), 28: n, 31: []string{second}})
		row := w.home + "|" + w.abroad() + "||PERSONAL_INFORMATION|USE|consent"
		w.transfer(row, uuidOf(first), uuidOf(second))
		w.expect("purposes", "PAYMENTS|PERSONAL_INFORMATION|USE", "accesses")
		w.carries(row, "PAYMENTS|PERSONAL_INFORMATION|USE", n)
	},
	func(w *reportWorld) { // one through a third place
		id := idOf("consent", w.rand.IntN(3))
		w.call("RecordService/GetRecord", entryValues{19: uuidOf(id), 22: "DE", 23: uint64(2), 24: uint64(1), 25: uint64(3), 26: []string{w.home, w.abroad()}})
		w.transfer(w.home+"|DE|"+w.abroad()+"|PERSONAL_INFORMATION|USE|consent", uuidOf(id))
		w.expect("purposes", "PAYMENTS|PERSONAL_INFORMATION|USE", "accesses")
	},
	func(w *reportWorld) { // one that is refused at the border
		w.call("RecordService/GetRecord", denied(5, "product/border").with(entryValues{22: w.abroad(), 23: uint64(2), 24: uint64(1), 25: uint64(2)}))
		w.expect("denials", "product/border|CROSS_BORDER_CONSENT_REQUIRED|"+w.home+"|"+w.abroad()+"|USE", "denied")
		w.expect("totals", "", "crossings_denied")
	},
	func(w *reportWorld) { // a write at home that is refused
		w.call("RecordService/PutRecord", denied(16, "children").with(entryValues{23: uint64(1), 24: uint64(1)}))
		w.expect("denials", "children|PARENTAL_CONSENT_REQUIRED|"+w.home+"|"+w.home+"|COLLECT", "denied")
	},
	func(w *reportWorld) { // a write that comes home through a gateway abroad
		w.call("RecordService/PutRecord", entryValues{23: uint64(1), 24: uint64(1), 26: []string{w.home, w.abroad()}, 28: uint64(70)})
		row := w.home + "|" + w.home + "|" + w.abroad() + "|PERSONAL_INFORMATION|COLLECT|inbound"
		w.transfer(row)
		w.carries(row, "", 70)
	},
	func(w *reportWorld) { // a drive that is erased from abroad
		w.call("DriveService/DeleteDrive", entryValues{22: w.abroad(), 23: uint64(8), 24: uint64(2)})
		w.transfer(w.home + "|" + w.abroad() + "||VIRTUAL_DRIVE_DATA|ERASE|deletion")
		w.expect("erasures", "drive", "begun", "done")
	},
	func(w *reportWorld) { // account data abroad
		w.call("TenantService/GetTenant", entryValues{22: w.abroad(), 23: uint64(2), 24: uint64(3)})
		w.transfer(w.home + "|" + w.abroad() + "||ACCOUNT_DATA|USE|account-data")
	},
	func(w *reportWorld) { // what must not be: a crossing that nothing permits
		w.call("RecordService/GetRecord", entryValues{22: w.abroad(), 23: uint64(2), 24: uint64(1), 25: uint64(2)})
		w.transfer(w.home + "|" + w.abroad() + "||PERSONAL_INFORMATION|USE|none")
		w.expect("purposes", "SERVICE_PROVISION|PERSONAL_INFORMATION|USE", "accesses")
		w.expect("totals", "", "crossings_without_basis")
	},
	func(w *reportWorld) { // a drive is read, to its end or not
		end := w.rand.IntN(3)
		w.stream("DriveService/ReadDrive", entryValues{23: uint64(2), 24: uint64(2), 25: uint64(2)},
			w.home+"|"+w.home+"||VIRTUAL_DRIVE_DATA|USE|home", "SERVICE_PROVISION|VIRTUAL_DRIVE_DATA|USE", end, "", "")
	},
	func(w *reportWorld) { // a person is handed their file
		w.stream("RecordService/ExportSubject", entryValues{23: uint64(9), 24: uint64(1)},
			w.home+"|"+w.home+"||PERSONAL_INFORMATION|EXPORT|home", "", w.rand.IntN(3), "rights", "file-exported")
	},
	func(w *reportWorld) { // a disclosure under an order
		recipient, order := idOf("recipient", w.rand.IntN(2)), uuidOf(idOf("order", w.rand.IntN(2)))
		w.stream("DisclosureService/Disclose", entryValues{20: order, 23: uint64(4), 24: uint64(1), 25: uint64(13), 30: recipient},
			w.home+"|"+w.home+"||PERSONAL_INFORMATION|DISCLOSE|order", "LEGAL_OBLIGATION|PERSONAL_INFORMATION|DISCLOSE", w.rand.IntN(3),
			"disclosures", fmt.Sprintf("%x|%s|%s|PERSONAL_INFORMATION|LEGAL_OBLIGATION|order", recipient, order, w.home))
	},
	func(w *reportWorld) { // one for a recipient's function
		recipient := idOf("recipient", 5)
		w.stream("DisclosureService/Disclose", entryValues{23: uint64(4), 24: uint64(1), 25: uint64(9), 30: recipient},
			w.home+"|"+w.home+"||PERSONAL_INFORMATION|DISCLOSE|function", "SUBCONTRACTED_FUNCTIONS|PERSONAL_INFORMATION|DISCLOSE", w.rand.IntN(3),
			"disclosures", fmt.Sprintf("%x||%s|PERSONAL_INFORMATION|SUBCONTRACTED_FUNCTIONS|function", recipient, w.home))
	},
	func(w *reportWorld) { // one on a request that was granted
		recipient, order := idOf("recipient", 6), uuidOf(idOf("request", 1))
		w.stream("DisclosureService/Disclose", entryValues{20: order, 23: uint64(4), 24: uint64(1), 25: uint64(7), 30: recipient},
			w.home+"|"+w.home+"||PERSONAL_INFORMATION|DISCLOSE|request", "FRAUD_PREVENTION|PERSONAL_INFORMATION|DISCLOSE", w.rand.IntN(3),
			"disclosures", fmt.Sprintf("%x|%s|%s|PERSONAL_INFORMATION|FRAUD_PREVENTION|request", recipient, order, w.home))
	},
	func(w *reportWorld) { // one that is refused, to whom nobody knows
		w.call("DisclosureService/Disclose", denied(18, "processors").with(entryValues{23: uint64(4), 24: uint64(1), 25: uint64(9)}))
		w.expect("denials", "processors|RECIPIENT_NOT_REGISTERED|"+w.home+"|"+w.home+"|DISCLOSE", "denied")
		w.expect("disclosures", "||"+w.home+"|PERSONAL_INFORMATION|SUBCONTRACTED_FUNCTIONS|", "denied")
	},
	func(w *reportWorld) { // transfers are inspected under a case
		order := uuidOf(idOf("case", w.rand.IntN(2)))
		w.stream("DriveService/InspectDrive", entryValues{20: order, 23: uint64(5), 24: uint64(2), 25: uint64(7)},
			w.home+"|"+w.home+"||VIRTUAL_DRIVE_DATA|INSPECT|case", "FRAUD_PREVENTION|VIRTUAL_DRIVE_DATA|INSPECT", w.rand.IntN(3),
			"inspections", order+"|FRAUD_PREVENTION|case")
	},
	func(w *reportWorld) { // what is stored is inspected with permission
		id := uuidOf(idOf("permission", w.rand.IntN(2)))
		row := w.home + "|" + w.home + "||VIRTUAL_DRIVE_DATA|INSPECT|consent"
		w.stream("DriveService/InspectDrive", entryValues{19: id, 23: uint64(5), 24: uint64(2), 25: uint64(14)},
			row, "INSPECTION|VIRTUAL_DRIVE_DATA|INSPECT", w.rand.IntN(3), "inspections", "|INSPECTION|consent", id)
	},
	func(w *reportWorld) { // a consent is granted
		w.call("ConsentService/GrantConsent", entryValues{19: uuidOf(idOf("consent", w.calls)), 23: uint64(10), 24: uint64(1)})
		w.transfer(w.home + "|" + w.home + "||PERSONAL_INFORMATION|GOVERN|home")
		w.expect("rights", "consent-granted", "done")
	},
	func(w *reportWorld) { // a use is restricted, of nobody who is there
		w.call("RecordService/RestrictSubject", entryValues{23: uint64(7), 24: uint64(1), 27: uint64(34)})
		row := w.home + "|" + w.home + "||PERSONAL_INFORMATION|RESTRICT|home"
		w.transfer(row)
		w.expect("transfers", row, "failed")
		w.expect("totals", "", "failed")
		w.expect("rights", "use-restricted", "failed")
	},
	func(w *reportWorld) { // an order is approved by who recorded it
		w.call("DisclosureService/ApproveLegalOrder", denied(29, "legal-order").with(entryValues{20: uuidOf(idOf("order", 1)), 23: uint64(10), 24: uint64(1)}))
		w.expect("denials", "legal-order|APPROVER_NOT_DISTINCT|"+w.home+"|"+w.home+"|GOVERN", "denied")
		w.expect("authorities", "legal-order|approved", "denied")
	},
	func(w *reportWorld) { // an informal request is recorded
		w.call("DisclosureService/RecordInformalRequest", entryValues{20: uuidOf(idOf("request", 1)), 23: uint64(10), 24: uint64(1)})
		w.transfer(w.home + "|" + w.home + "||PERSONAL_INFORMATION|GOVERN|home")
		w.expect("authorities", "informal-request|recorded", "done")
	},
	func(w *reportWorld) { // somebody asks whether data may move
		w.call("TransferService/CheckTransfer", denied(5, "product/border").with(entryValues{22: w.abroad(), 23: uint64(3), 24: uint64(1), 25: uint64(2)}))
		w.expect("checks", w.home+"|"+w.abroad()+"|PERSONAL_INFORMATION|DENY|product/border|CROSS_BORDER_CONSENT_REQUIRED", "checks")
	},
	func(w *reportWorld) { // a person is erased, and a while later nothing is left
		e := w.call("RecordService/EraseSubject", entryValues{4: uint64(2), 15: "stop-holding", 23: uint64(8), 24: uint64(1)})
		w.transfer(w.home + "|" + w.home + "||PERSONAL_INFORMATION|ERASE|home")
		w.expect("erasures", "subject", "begun")
		w.swept(e, e[9])
		w.expect("erasures", "subject", "done")
	},
	func(w *reportWorld) { // and a tenant
		e := w.call("TenantService/EraseTenant", entryValues{4: uint64(2), 15: "stop-holding", 23: uint64(8), 24: uint64(3)})
		w.transfer(w.home + "|" + w.home + "||ACCOUNT_DATA|ERASE|home")
		w.expect("erasures", "tenant", "begun")
		w.swept(e, nil)
		w.expect("erasures", "tenant", "done")
	},
	func(w *reportWorld) { // a write tells of a child: its erasure has an end alone
		e := w.call("RecordService/PutRecord", denied(16, "children").with(entryValues{23: uint64(1), 24: uint64(1)}))
		w.expect("denials", "children|PARENTAL_CONSENT_REQUIRED|"+w.home+"|"+w.home+"|COLLECT", "denied")
		w.swept(e, e[9])
		w.expect("erasures", "subject", "done")
	},
	func(w *reportWorld) { // a repeated call for an erasure begins none
		w.call("RecordService/EraseSubject", entryValues{15: "stop-holding", 23: uint64(8), 24: uint64(1)})
		w.transfer(w.home + "|" + w.home + "||PERSONAL_INFORMATION|ERASE|home")
		w.expect("erasures", "subject")
	},
	func(w *reportWorld) { // a record's time is over
		w.call("sweep", entryValues{5: "sweep", 6: "urn:domicile:sweep", 15: "cookies", 23: uint64(8), 24: uint64(1)})
		w.expect("erasures", "expired-record", "begun", "done")
	},
}

// swept ends an erasure.
func (w *reportWorld) swept(begun entryValues, tenant any) {
	w.append(entryValues{
		3: begun[3], 4: uint64(3), 5: "sweep", 6: "urn:domicile:sweep", 9: tenant, 12: uint64(1), 15: "stop-holding",
		21: w.home, 22: w.home, 23: uint64(8), 24: uint64(1), 29: uint64(1),
	})
}

// stream makes a stream that ends completed (0), cut (1) or unknown (2) after other calls had their turn.
func (w *reportWorld) stream(method string, v entryValues, transfer, purpose string, end int, section, row string, consents ...string) {
	e := w.call(method, v.with(entryValues{4: uint64(2)}))
	w.transfer(transfer, consents...)
	w.expect("totals", "", "streams")
	if purpose != "" {
		w.expect("purposes", purpose, "accesses")
	}
	handed := section == "disclosures" || section == "inspections"
	if handed {
		w.expect(section, row, "begun")
	}
	for _, id := range consents {
		w.want.differ(w.where(), section, row, "consents", id)
	}
	n := uint64(w.rand.IntN(1 << 20))
	done := e.with(entryValues{4: uint64(3), 29: uint64(end + 1), 28: n})
	if n == 0 {
		delete(done, 28)
	}
	result := ""
	if end == 1 {
		done[27], result = uint64(6), "CONSENT_WITHDRAWN"
	}
	w.append(done)
	w.carries(transfer, purpose, n)
	name := []string{"completed", "cut", "unknown"}[end]
	switch {
	case handed:
		w.expect(section, row, name)
		w.want.add(w.where(), section, row, "bytes", n)
	case section == "rights" && end == 0:
		w.expect(section, row, "done")
	case section == "rights":
		w.expect(section, row, "failed")
	}
	if end > 0 {
		w.expect("streams", method+"|"+name+"|"+result, "streams")
		w.want.add(w.where(), "streams", method+"|"+name+"|"+result, "bytes", n)
	}
}

// live makes every kind of call, and then calls at random.
func (w *reportWorld) live(calls int) {
	for i := range calls {
		n := i
		if i >= len(worldCalls) {
			n = w.rand.IntN(len(worldCalls))
		}
		worldCalls[n](w)
	}
}

// sortedCounts gives counts other than zero, for comparing.
func sortedCounts(counts map[string]uint64) []string {
	var out []string
	for key, n := range counts {
		if n > 0 {
			out = append(out, fmt.Sprintf("%s = %d", key, n))
		}
	}
	slices.SortFunc(out, cmp.Compare[string])
	return out
}
