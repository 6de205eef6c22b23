package gateway

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/store"
)

// Direction is which way data went.
type Direction uint8

// The directions, numbered as in the protos.
const (
	DirectionUnspecified Direction = iota
	DirectionWrite                 // collected: to where it is held
	DirectionRead                  // everything else: from where it is held
	numDirections        = iota
)

func directionOf(a residency.Action) Direction {
	if a == residency.Collect {
		return DirectionWrite
	}
	return DirectionRead
}

// volume is how much was moved, by how many calls.
type volume struct{ Bytes, Calls uint64 }

// volumeOf gives what an entry adds to its tenant's totals. counted is false for one that adds nothing: of no tenant, or
// a stream's first, whose last has what it came to.
//
// All bytes of an entry count, whatever came of the call, so that the sums of both are the same. A call counts
// when it was permitted and came to its end: it succeeded, or it is a stream, which may have carried something however
// it ended. What the gateway does by itself when a time is over is nobody's call.
func volumeOf(e *audit.Entry) (v volume, counted bool) {
	if e.Tenant == "" || e.Phase == audit.Intent {
		return volume{}, false
	}
	v.Bytes = e.Bytes
	if e.Allow && e.Caller != sweeper && (e.Result == residency.OK || e.Phase == audit.Ended) {
		v.Calls = 1
	}
	return v, v != volume{}
}

const secondsOfDay = 24 * 60 * 60

// dayOf gives the day of a time, of UTC, counted from 1970.
func dayOf(t time.Time) uint32 {
	return uint32(max(t.Unix(), 0) / secondsOfDay) //nolint:gosec // entries' times are of this century
}

// day counts a date's day from 1970.
func (d Date) day() int64 {
	return time.Date(d.Year, time.Month(d.Month), d.Day, 0, 0, 0, 0, time.UTC).Unix() / secondsOfDay
}

// storedDay gives a date's day as rows have it. Of earlier days than the first there is nothing.
func storedDay(d Date) uint32 {
	return uint32(max(d.day(), 0)) //nolint:gosec // dates are of the years up to 9999
}

// dateOf gives the date of a day.
func dateOf(day uint32) Date {
	y, m, d := time.Unix(int64(day)*secondsOfDay, 0).UTC().Date()
	return Date{Year: y, Month: int(m), Day: d}
}

// usageID names the row of a tenant's day: its pseudonym in the log, so that the days of one tenant lie
// together, and stay without a name when the key that leads to the pseudonym is gone.
func usageID(tenant [idSize]byte, day uint32) store.ID {
	return store.ID(binary.BigEndian.AppendUint32(tenant[:], day))
}

// usageDay gives the day that a row is of.
func usageDay(id store.ID) (uint32, error) {
	if len(id) != idSize+4 {
		return 0, errors.New("a day's usage has an identifier of another length")
	}
	return binary.BigEndian.Uint32([]byte(id[idSize:])), nil
}

// logPseudonym reads a tenant's pseudonym in the log.
func logPseudonym(text string) (p [idSize]byte, err error) {
	b, err := hex.DecodeString(text)
	if err == nil && len(b) != idSize {
		err = errors.New("a tenant's pseudonym has another length")
	}
	copy(p[:], b)
	return p, err
}

// dayUsage is what a tenant moved on one day, by class of data and direction.
type dayUsage [residency.NumDataClasses][numDirections]volume

func (u *dayUsage) add(other *dayUsage) {
	for class := range u {
		for d := range u[class] {
			u[class][d].Bytes += other[class][d].Bytes
			u[class][d].Calls += other[class][d].Calls
		}
	}
}

// usageCell is a total as a row has it.
type usageCell struct {
	Class     residency.DataClass
	Direction Direction
	volume
}

func (c *usageCell) layout(f *fields) {
	number(f, 1, &c.Class)
	number(f, 2, &c.Direction)
	f.uint(3, &c.Bytes)
	f.uint(4, &c.Calls)
}

// cells lists the totals that are not zero, in the order of classes and directions.
func (u *dayUsage) cells() (list []usageCell) {
	for class := range u {
		for d, v := range u[class] {
			if v != (volume{}) {
				list = append(list, usageCell{residency.DataClass(class), Direction(d), v}) //nolint:gosec // indexes of closed sets
			}
		}
	}
	return list
}

// usageRow is a day's row.
type usageRow struct{ Cells []usageCell }

func (r *usageRow) layout(f *fields) { rows(f, 1, &r.Cells) }

func (u *dayUsage) encode() []byte { return encodeRow(&usageRow{u.cells()}) }

func decodeUsage(b []byte) (u dayUsage, err error) {
	var r usageRow
	if err := decodeRow(b, &r); err != nil {
		return u, err
	}
	for _, c := range r.Cells {
		if int(c.Class) >= residency.NumDataClasses || c.Direction >= numDirections || u[c.Class][c.Direction] != (volume{}) {
			return u, errors.New("a day's usage has a class or a direction that is not known, or one twice")
		}
		u[c.Class][c.Direction] = c.volume
	}
	return u, nil
}

// usageState is how far a cluster's log is counted.
type usageState struct {
	From    uint64 // entries from this place on are counted: the oldest that there was when counting began; 0 = none yet
	Through uint64 // and up to and with this one
}

func (s *usageState) layout(f *fields) {
	f.uint(1, &s.From)
	f.uint(2, &s.Through)
}

// errUsageLost is why nothing is counted when nobody knows any more up to where it was.
var errUsageLost = errors.New("the row that says how far the log is counted is gone, and there are totals: counting anew would bill twice")

// readUsageState reads how far a cluster's log is counted. Where there is no row, and no total either, nothing was.
func readUsageState(tx store.Tx) (s usageState, err error) {
	b, there, err := has(tx, store.KindUsage, "")
	if err != nil {
		return s, err
	}
	var damage error
	if there {
		damage = decodeRow(b, &s)
	} else {
		err = tx.Scan(store.KindUsage, "", "", func(store.ID, []byte) bool {
			damage = errUsageLost
			return false
		})
	}
	if damage != nil {
		return usageState{}, residency.E("gateway.readUsageState", residency.IntegrityFailure, damage)
	}
	return s, err
}

// usageScope locks a cluster's totals.
var usageScope = store.Scope{Objects: []store.Lock{{Object: "usage", Exclusive: true}}}
