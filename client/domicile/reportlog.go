package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/audit/proof"
)

// reportBase is what a report rests on: one log that verified, and on whose word its key was believed.
type reportBase struct {
	Origin    string   `json:"origin"`
	Region    string   `json:"region"`
	Size      uint64   `json:"size"`
	Root      string   `json:"root"`
	Witness   []string `json:"witness"` // "self", or who cosigned, and when
	Key       string   `json:"key"`
	KeySource string   `json:"key_source"` // "given", or "gateway" when it was the gateway's own word
	Verified  uint64   `json:"entries_verified"`
	Dropped   uint64   `json:"entries_dropped"` // or withheld: what is missing does not say which
	Missing   string   `json:"entries_missing,omitempty"`
	First     string   `json:"first_entry,omitempty"` // the times of the oldest and the newest entry that are there
	Last      string   `json:"last_entry,omitempty"`
	Compared  []uint64 `json:"consistent_with"` // sizes of the earlier checkpoints that it contains
	Caveat    string   `json:"caveat,omitempty"`

	oldest, newest time.Time
	last           time.Time // of the last place
}

// Whose word a log's key is.
const (
	keyGiven   = "given"
	keyGateway = "gateway"
)

// outOfOrder is by how much an entry's time may lie before that of an earlier place.
const outOfOrder = time.Minute

// kept reports whether no entry of a span can be among those that are missing at the log's beginning.
func (b *reportBase) kept(s span) bool {
	return b.Dropped == 0 || b.Verified > 0 && !s.from.Before(b.oldest.Add(outOfOrder))
}

// reaches gives the time until when the log has everything: what follows its last entry cannot be of before then. That is not
// the newest, which may be of a clock that went ahead for a while. A log without entries reaches nowhere, which is the zero time.
func (b *reportBase) reaches() time.Time {
	if b.last.IsZero() {
		return time.Time{}
	}
	return b.last.Add(-outOfOrder)
}

// saw notes an entry's time. Times are nearly ascending, and no more.
func (b *reportBase) saw(t time.Time) {
	b.last = t
	if b.oldest.IsZero() || t.Before(b.oldest) {
		b.oldest = t
	}
	if t.After(b.newest) {
		b.newest = t
	}
}

// reportTrust is what the reader of a report has beside the logs.
type reportTrust struct {
	keys      logKeys
	told      map[string]bool // the origins of the logs whose keys a gateway told
	earlier   map[string][][]byte
	used      map[string]bool // the origins of the logs
	witnesses []proof.Witness
}

// trust reads keys, witnesses and earlier checkpoints. Each belongs to the log whose origin it names.
func (c *auditReport) trust() (*reportTrust, error) {
	keys, err := readKeys(c.Key)
	if err != nil {
		return nil, err
	}
	witnesses, err := readWitnesses(c.Witness)
	if err != nil {
		return nil, err
	}
	t := &reportTrust{keys: keys, witnesses: witnesses, told: map[string]bool{}, earlier: map[string][][]byte{}, used: map[string]bool{}}
	for _, name := range c.Checkpoint {
		signed, err := readCheckpoint(name)
		if err != nil {
			return nil, err
		}
		origin := firstLine(signed)
		t.earlier[origin] = append(t.earlier[origin], signed)
	}
	return t, nil
}

// read verifies a log, and has its entries counted while it does.
func (t *reportTrust) read(a *app, src proof.Source, name string, count *reportCounter) (*reportBase, error) {
	signed, err := src.ReadFile(a.ctx, "checkpoint", proof.MaxCheckpoint)
	if err != nil {
		return nil, fmt.Errorf("%s: the log's checkpoint: %w", name, err)
	}
	origin := firstLine(signed)
	keys := t.keys.of(origin)
	switch {
	case len(keys) == 0:
		return nil, usagef("--key: none is of the log %q (%s): give ORIGIN+HASH+BASE64 of that origin", printable(origin), name)
	case t.used[origin]:
		return nil, usagef("the log %s is given twice: it would be counted twice", origin)
	}
	t.used[origin] = true
	b := &reportBase{Origin: origin, Region: keys[0].Region(), Key: keys[0].text, KeySource: keyGiven}
	if t.told[origin] {
		b.KeySource = keyGateway
	}
	count.region(b.Region)
	return b, t.verify(a, src, name, keys, b, count)
}

func (t *reportTrust) verify(a *app, src proof.Source, name string, keys logKeys, b *reportBase, count *reportCounter) error {
	o := proof.Options{Witnesses: t.witnesses}
	for _, signed := range t.earlier[b.Origin] {
		old, err := keys.checkpoint(signed)
		if err != nil {
			return fmt.Errorf("--checkpoint: %w", err)
		}
		o.Remembered = append(o.Remembered, old)
	}
	bar := newProgress(a.stderr, "", -1)
	defer bar.end()
	var counted error
	n := 0
	o.Each = func(e *proof.Entry) error {
		n++
		bar.text(strconv.Itoa(n) + " entries of " + b.Origin)
		b.saw(e.Time)
		counted = count.entry(e)
		return counted
	}
	r, err := keys.verify(a.ctx, src, o)
	switch {
	case counted != nil:
		return counted
	case err != nil:
		return fmt.Errorf("%s is not verified, and there is no report on it: %s", name, printable(err.Error()))
	}
	b.fill(&r)
	return nil
}

// fill takes over what was found when the log was verified.
func (b *reportBase) fill(r *proof.Report) {
	c := &r.Checkpoint
	b.Size, b.Root, b.Verified, b.Dropped, b.Caveat = c.Size, base64.StdEncoding.EncodeToString(c.Root[:]), r.Verified, r.Dropped, r.Caveat()
	if r.Dropped > 0 {
		b.Missing = fmt.Sprintf("1 to %d dropped or withheld, known by their hashes alone", r.Dropped)
	}
	head := headOf(c)
	b.Witness = head.cosignedTexts()
	b.Compared = []uint64{}
	for i := range r.Remembered {
		b.Compared = append(b.Compared, r.Remembered[i].Size)
	}
	slices.Sort(b.Compared)
	if r.Verified > 0 {
		b.First, b.Last = b.oldest.Format(time.RFC3339Nano), b.newest.Format(time.RFC3339Nano)
	}
}

// unused refuses what was given and belongs to no log of the report: it was to be compared, and was not.
func (t *reportTrust) unused() error {
	for origin := range t.earlier {
		if !t.used[origin] {
			return usagef("--checkpoint: one is of the log %q, which the report is not about", printable(origin))
		}
	}
	return nil
}

// readAll reads the logs that the flags name.
func (c *auditReport) readAll(a *app, t *reportTrust, count *reportCounter) (bases []*reportBase, err error) {
	for _, name := range c.Log {
		src, end, err := logSource(name)
		if err != nil {
			return nil, err
		}
		b, err := t.read(a, src, name, count)
		end()
		if err != nil {
			return nil, err
		}
		bases = append(bases, b)
	}
	for _, region := range c.Region {
		b, err := c.readOnline(a, t, region, count)
		if err != nil {
			return nil, err
		}
		bases = append(bases, b)
	}
	slices.SortFunc(bases, func(x, y *reportBase) int { return strings.Compare(x.Origin, y.Origin) })
	return bases, t.unused()
}

// readOnline takes a region's log from the gateway, into a folder that is gone afterwards.
func (c *auditReport) readOnline(a *app, t *reportTrust, region string, count *reportCounter) (b *reportBase, err error) {
	dir, err := os.MkdirTemp("", "domicile-report-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	err = a.call(func(g *client.Client) error {
		if len(c.Key) == 0 {
			if err := t.ask(a.ctx, g, region, c.Cluster); err != nil {
				return err
			}
		}
		_, err := a.fetchLog(g, &residencyv1.ExportLogRequest{Region: region, Cluster: c.Cluster}, nil, dir)
		return err
	})
	if err != nil {
		return nil, err
	}
	src, end, err := logSource(dir)
	if err != nil {
		return nil, err
	}
	defer end()
	return t.read(a, src, "the log of "+region, count)
}

// ask takes a gateway's word for a log's key.
func (t *reportTrust) ask(ctx context.Context, g *client.Client, region, cluster string) error {
	r, err := g.Audit.GetCheckpoint(ctx, &residencyv1.GetCheckpointRequest{Region: region, Cluster: cluster})
	if err != nil {
		return err
	}
	key, err := proof.ParseKey(r.GetVerifierKey())
	if err != nil {
		return fmt.Errorf("what the gateway tells as the key of its log in %s is none: %w", region, err)
	}
	t.keys, t.told[key.Origin()] = append(t.keys, logKey{key, r.GetVerifierKey()}), true
	return nil
}
