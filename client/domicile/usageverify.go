package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

type usageVerify struct {
	usageArgs
	Log        string   `placeholder:"DIR|URL" help:"Add up an exported log, verified against --key first, instead of asking the gateway for its entries: then the key alone is trusted."`
	Key        []string `sep:"none" placeholder:"KEY|@FILE" help:"The log's public key, ORIGIN+HASH+BASE64, or a file that holds it. It goes with --log. Repeat it for the keys before it, by which earlier checkpoints were signed: the log's own key comes first."`
	Checkpoint []string `sep:"none" placeholder:"FILE" help:"An earlier checkpoint that the log must contain, with --log. Repeat it for more."`
	Pseudonym  string   `placeholder:"HEX" help:"The tenant's pseudonym in the log, 32 hexadecimal digits, with --log (default that of the newest entry about it, which the gateway is asked for)."`
}

var pseudonymForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Run adds up the entries and compares the sums with the totals.
func (c *usageVerify) Run(a *app) error {
	where := c.Log
	if where == "" {
		where = "the gateway"
	}
	return a.tell(where, c.verify(a))
}

func (c *usageVerify) verify(a *app) error {
	source, err := c.source()
	if err != nil {
		return err
	}
	return a.call(func(g *client.Client) error {
		billed, err := c.billed(a, g)
		if err != nil {
			return err
		}
		out, err := c.compare(a, g, source, billed)
		if source == (gatewayEntries{}) && err == nil && !out.Verified { // a stream that ended long after it began would do that
			out, err = c.compare(a, g, gatewayEntries{all: true}, billed)
		}
		if err != nil {
			return err
		}
		return a.printUsage(out)
	})
}

// firstCount is how long after a cluster was set up something is counted in its log at the latest.
const firstCount = 15 * time.Second

// billed gets the totals, once there is anything counted.
func (c *usageVerify) billed(a *app, g *client.Client) (*residencyv1.GetUsageResponse, error) {
	for end := time.Now().Add(firstCount); ; {
		r, err := c.ask(a, g)
		if err != nil || r.GetThroughPlace() > 0 {
			return r, err
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("nothing of the log is counted yet, though that takes a second or two: see whether the gateway signs checkpoints (%s)", a.hint("audit checkpoint"))
		}
		select {
		case <-time.After(time.Second):
		case <-a.ctx.Done():
			return nil, a.ctx.Err()
		}
	}
}

// compare holds totals against what a source's entries add up to.
func (c *usageVerify) compare(a *app, g *client.Client, source entrySource, billed *residencyv1.GetUsageResponse) (*verifiedUsage, error) {
	s := newUsageSums(billed)
	if err := source.read(a, g, c.TenantID, s); err != nil {
		return nil, err
	}
	return s.compare(c.TenantID, billed)
}

// source says where the entries come from.
func (c *usageVerify) source() (entrySource, error) {
	switch {
	case c.Log == "" && (len(c.Key)+len(c.Checkpoint) > 0 || c.Pseudonym != ""):
		return nil, usagef("--key, --checkpoint and --pseudonym go with --log")
	case c.Log == "":
		return gatewayEntries{}, nil
	case len(c.Key) == 0:
		return nil, usagef("--log: its public key is missing: --key, as audit checkpoint tells it")
	case c.Pseudonym != "" && !pseudonymForm.MatchString(c.Pseudonym):
		return nil, usagef("--pseudonym: want 32 hexadecimal digits in lower case")
	}
	keys, err := readKeysOfOne(c.Key)
	if err != nil {
		return nil, err
	}
	remembered, err := keys.remembered(c.Checkpoint)
	if err != nil {
		return nil, err
	}
	return &exportedEntries{log: c.Log, keys: keys, remembered: remembered, pseudonym: c.Pseudonym}, nil
}

// usageSums are the sums of a tenant's entries.
type usageSums struct {
	log           string    // of which log: REGION/CLUSTER
	start, end    time.Time // of which days
	from, through int64     // of which places
	sums          map[usageKey]*usageSum
	entries       int64     // that were added
	where         string    // they come from
	kept          time.Time // of days until this time entries may have been dropped; zero = of none
}

func newUsageSums(r *residencyv1.GetUsageResponse) *usageSums {
	s := &usageSums{
		log: r.GetRegion() + "/" + r.GetCluster(), start: beginning(r.GetStartDate()), end: beginning(r.GetEndDate()),
		from: r.GetCountedFromPlace(), through: r.GetThroughPlace(), sums: map[usageKey]*usageSum{},
	}
	if r.GetOldestEntryPlace() > s.from {
		s.kept = r.GetOldestEntryTime().AsTime().Add(skew)
	}
	return s
}

// usedEntry is what of an entry says how much was moved.
type usedEntry struct {
	place  int64
	time   time.Time
	last   bool // the call's only entry or a stream's last, not its first
	stream bool // of a stream's two
	allow  bool
	caller string
	action residencyv1.Action
	class  residencyv1.DataClass
	result string
	bytes  uint64
}

// ownCaller is who acts when nobody called: what is done when a time is over.
const ownCaller = "urn:domicile:sweep"

// add adds an entry, if it counts: its bytes whatever came of the call, and a call when it was permitted
// and succeeded, or is a stream that ended.
func (s *usageSums) add(e *usedEntry) {
	if !e.last || e.place < s.from || e.place > s.through || e.time.Before(s.start) || !e.time.Before(s.end) {
		return
	}
	k := usageKey{e.time.UTC().Format(time.DateOnly), e.class, residencyv1.TransferDirection_TRANSFER_DIRECTION_READ}
	if e.action == residencyv1.Action_ACTION_COLLECT {
		k.direction = residencyv1.TransferDirection_TRANSFER_DIRECTION_WRITE
	}
	sum := s.sums[k]
	if sum == nil {
		sum = &usageSum{}
		s.sums[k] = sum
	}
	s.entries++
	sum.bytes += int64(e.bytes & (1<<63 - 1)) //nolint:gosec // as the totals have it
	if e.allow && e.caller != ownCaller && (e.stream || e.result == "") {
		sum.calls++
	}
}

// verifiedUsage is what the comparison came to, as programs read it.
type verifiedUsage struct {
	verifyFailure
	Tenant      string            `json:"tenant"`
	Start       string            `json:"start_date"`
	End         string            `json:"end_date"`
	Verified    bool              `json:"verified"`
	Against     string            `json:"against"`
	Entries     int64             `json:"entries_added"`
	From        int64             `json:"counted_from_place"`
	Through     int64             `json:"through_place"`
	Bytes       int64             `json:"bytes_billed"`
	Calls       int64             `json:"calls_billed"`
	LeftOut     string            `json:"left_out_through,omitempty"` // days up to this one: entries of theirs were dropped or withheld
	Differences []usageDifference `json:"differences"`
}

// usageDifference is a total that is not its sum.
type usageDifference struct {
	Day          string `json:"date"`
	Class        string `json:"data_class"`
	Direction    string `json:"direction"`
	BytesBilled  int64  `json:"bytes_billed"`
	BytesAudited int64  `json:"bytes_audited"`
	CallsBilled  int64  `json:"calls_billed"`
	CallsAudited int64  `json:"calls_audited"`
}

// compare holds the totals against the sums, of the days of which every entry is there.
func (s *usageSums) compare(tenant string, r *residencyv1.GetUsageResponse) (*verifiedUsage, error) {
	out := &verifiedUsage{
		Tenant: tenant, Start: dateText(r.GetStartDate()), End: dateText(r.GetEndDate()), Against: s.where,
		Entries: s.entries, From: s.from, Through: s.through, Differences: []usageDifference{},
	}
	if !s.kept.IsZero() && !s.kept.Before(s.start) {
		out.LeftOut = s.kept.UTC().Format(time.DateOnly)
		if last := s.end.AddDate(0, 0, -1).Format(time.DateOnly); out.LeftOut >= last {
			return nil, fmt.Errorf("of all these days entries were dropped when their time was over, or withheld, the last of them on %s or before: ask for later days, or give a mirror of the log that still has them", out.LeftOut)
		}
	}
	all := map[usageKey][2]usageSum{}
	for _, t := range r.GetTotals() {
		sum := usageSum{t.GetBytes(), t.GetCalls()}
		all[usageKey{dateText(t.GetDate()), t.GetDataClass(), t.GetDirection()}] = [2]usageSum{sum, {}}
	}
	for k, sum := range s.sums {
		both := all[k]
		both[1] = *sum
		all[k] = both
	}
	for _, k := range sortedKeys(all) {
		if k.day > out.LeftOut {
			out.add(k, all[k][0], all[k][1])
		}
	}
	if out.OK, out.Verified = true, true; len(out.Differences) > 0 {
		out.Verified = false
		out.verifyFailure = failureOf("the totals", fmt.Errorf("what is billed is not what the log says: %s", countText(int64(len(out.Differences)), "difference")))
	}
	return out, nil
}

func (v *verifiedUsage) add(k usageKey, billed, audited usageSum) {
	v.Bytes += billed.bytes
	v.Calls += billed.calls
	if billed != audited {
		v.Differences = append(v.Differences, usageDifference{
			k.day, enumText(k.class), enumText(k.direction), billed.bytes, audited.bytes, billed.calls, audited.calls,
		})
	}
}

// printUsage shows what the comparison came to, and gives on that something differs.
func (a *app) printUsage(v *verifiedUsage) error {
	var differs error
	if !v.Verified {
		differs = errors.New(v.Error)
	}
	switch {
	case a.flags.Output == "json" && differs != nil:
		return a.shown(v, differs)
	case a.flags.Output == "json":
		return a.value(v)
	}
	return errors.Join(a.usageComparison(v), differs)
}

func (a *app) usageComparison(v *verifiedUsage) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	if v.Verified {
		fmt.Fprintf(w, "%s: verified\n", v.Tenant)
		for _, f := range []field{
			{"days", fmt.Sprintf("from %s and before %s", v.Start, v.End)},
			{"billed", fmt.Sprintf("%d bytes in %s", v.Bytes, countText(v.Calls, "call"))},
			{"audited", "the same, in each class and direction of each day"},
			{"against", v.Against},
			{"entries", fmt.Sprintf("%d added, of places %d to %d", v.Entries, v.From, v.Through)},
		} {
			fmt.Fprintf(w, "  %s\t%s\n", f.name, printable(f.value))
		}
	} else {
		writeRow(w, []string{"DAY", "CLASS", "DIRECTION", "BYTES BILLED", "AUDITED", "DIFFERENCE", "CALLS BILLED", "AUDITED", "DIFFERENCE"})
		for _, d := range v.Differences {
			writeRow(w, []string{
				d.Day, d.Class, d.Direction, numberText(d.BytesBilled), numberText(d.BytesAudited), signedText(d.BytesBilled - d.BytesAudited),
				numberText(d.CallsBilled), numberText(d.CallsAudited), signedText(d.CallsBilled - d.CallsAudited),
			})
		}
	}
	if v.LeftOut != "" {
		fmt.Fprintf(w, "Days up to %s are left out: entries of theirs were dropped when their time was over, or withheld.\n", v.LeftOut)
	}
	return w.Flush()
}

func signedText(n int64) string {
	if n > 0 {
		return "+" + strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10)
}
