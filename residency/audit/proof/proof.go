// Package proof knows how to check Domicile's audit log without asking Domicile: what a
// checkpoint's signature, a receipt and a whole log in the layout of C2SP tlog-tiles prove,
// and what is wrong when they do not.
//
// All that it trusts is the log's public key. It shares no code with the program that writes the log: it has
// the formats from ../LOG.md and ../FORMAT.md, the tree from golang.org/x/mod/sumdb/tlog and the signatures from
// golang.org/x/mod/sumdb/note.
//
//	key, err := proof.ParseKey("domicile.local/ch/ch-1+2c2dd29d+AQ7…")
//	receipts, err := key.VerifyReceipts(file)
//	report, err := proof.VerifyLog(ctx, proof.Dir(root.FS()), key, proof.Options{})
//
// What is found to be wrong with a log is a *Fault; every other error says why nothing could be found out.
package proof

import "fmt"

// FaultKind is what is wrong with a log.
type FaultKind string

// The kinds of faults.
const (
	Edited     FaultKind = "edited"     // an entry has other bytes than the tree says
	Missing    FaultKind = "missing"    // an entry, a bundle or a tile is not there, though later ones are
	Duplicated FaultKind = "duplicated" // an entry stands a second time, in another's place
	Swapped    FaultKind = "swapped"    // two entries stand in each other's place
	Inserted   FaultKind = "inserted"   // something stands before an entry that is none of the log's, or is another's
	Malformed  FaultKind = "malformed"  // what stands there, though the tree has it so, is no entry of this place
	Foreign    FaultKind = "foreign"    // an entry says that it is of another region's log
	BadTile    FaultKind = "tile"       // a tile's hashes are not those of the tree
	BadRoot    FaultKind = "root"       // tiles and entries do not give the root that was signed
	Forked     FaultKind = "forked"     // the log contradicts an earlier checkpoint of its own
	CutOff     FaultKind = "cut-off"    // an earlier checkpoint was of more entries than the log now has
)

// Fault is the first thing that is wrong with a log.
type Fault struct {
	Kind   FaultKind
	Place  uint64 // the place of the first wrong entry, from 1; 0 when it cannot be told
	Path   string // the wrong file, "" when it cannot be told
	Detail string // a sentence, without a full stop
}

// Error says where the fault is and what it is.
func (f *Fault) Error() string {
	text := string(f.Kind)
	if f.Place > 0 {
		text += fmt.Sprintf(" at place %d", f.Place)
	}
	if f.Path != "" {
		text += " in " + f.Path
	}
	return text + ": " + f.Detail
}

// largest is the greatest size of a log, as package tlog counts.
const largest = 1 << 62
