package proof

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// MaxReceipts is the most bytes that a file of receipts may have.
const MaxReceipts = 1 << 20

const receiptHeader = "c2sp.org/tlog-proof@v1\n"

// Receipt is what one proof proves: that the entry is in the log of the checkpoint, at the entry's place.
type Receipt struct {
	Encoded    []byte // the entry's bytes
	Entry      Entry  // what they say
	Index      uint64 // which leaf it is, from 0: the place less one
	Checkpoint Checkpoint
}

// VerifyReceipts reads a file of one or more proofs (C2SP tlog-proof), with an empty line between two, and verifies
// all of them; the witnesses are those of OpenCheckpoint. Any change to the file, be it of one bit, is an error, and so is a
// signature by somebody whom neither the log names nor the caller knows: nothing could be said of it.
func (k Key) VerifyReceipts(file []byte, witnesses ...Witness) ([]Receipt, error) {
	if len(file) > MaxReceipts {
		return nil, fmt.Errorf("the receipt has %d bytes, more than %d", len(file), MaxReceipts)
	}
	var out []Receipt
	for rest := file; ; {
		one, next, more := cutReceipt(rest)
		r, err := k.verifyReceipt(string(one), witnesses)
		if err != nil {
			return nil, fmt.Errorf("proof %d: %w", len(out)+1, err)
		}
		out = append(out, r)
		if !more {
			return out, nil
		}
		rest = next
	}
}

// cutReceipt gives the first proof of a file and what follows the empty line after its signatures: what should be another proof.
func cutReceipt(file []byte) (one, rest []byte, more bool) {
	signed := bytes.Index(file, []byte("\n\n— "))
	if signed < 0 {
		return file, nil, false
	}
	end := bytes.Index(file[signed+2:], []byte("\n\n"))
	if end < 0 {
		return file, nil, false
	}
	end += signed + 2
	return file[:end+1], file[end+2:], true
}

func (k Key) verifyReceipt(text string, witnesses []Witness) (Receipt, error) {
	p, err := parseReceipt(text)
	if err != nil {
		return Receipt{}, err
	}
	c, err := k.OpenCheckpoint([]byte(p.checkpoint), witnesses...)
	if err != nil {
		return Receipt{}, err
	}
	if len(c.Unchecked) > 0 {
		return Receipt{}, fmt.Errorf("the checkpoint: nobody's key is known for the signature of %s: give the witness's, or leave the line out", c.Unchecked[0])
	}
	if p.index >= c.Size {
		return Receipt{}, fmt.Errorf("leaf %d is not in a log of %d entries", p.index, c.Size)
	}
	if err := tlog.CheckRecord(p.hashes, int64(c.Size), c.Root, int64(p.index), tlog.RecordHash(p.entry)); err != nil {
		return Receipt{}, errors.New("the entry is not at this place of the log that was signed: the entry, the index or a hash was changed")
	}
	e, err := ParseEntry(p.entry)
	if err != nil {
		return Receipt{}, err
	}
	if e.Place != p.index+1 {
		return Receipt{}, fmt.Errorf("the entry says that its place is %d, and is proved at place %d", e.Place, p.index+1)
	}
	if e.Region != k.Region() {
		return Receipt{}, fmt.Errorf("the entry is of region %s, the log %s of region %s", e.Region, k.Origin(), k.Region())
	}
	return Receipt{Encoded: p.entry, Entry: e, Index: p.index, Checkpoint: c}, nil
}

// unverified is a proof that was read and not checked.
type unverified struct {
	entry      []byte
	index      uint64
	hashes     tlog.RecordProof
	checkpoint string
}

// parseReceipt reads a proof's lines: the header, extra, index, the hashes, an empty line and the checkpoint.
func parseReceipt(text string) (p unverified, err error) {
	rest, ok := strings.CutPrefix(text, receiptHeader)
	if !ok {
		return p, errors.New("it does not begin with the line c2sp.org/tlog-proof@v1")
	}
	extra, rest, ok1 := cutLine(rest, "extra ")
	index, rest, ok2 := cutLine(rest, "index ")
	if !ok1 || !ok2 {
		return p, errors.New("it has not the lines extra, which holds the entry, and index")
	}
	if p.entry, err = decodeBase64(extra); err != nil {
		return p, fmt.Errorf("the line extra: %w", err)
	}
	if p.index, err = parseNumber(index); err != nil {
		return p, fmt.Errorf("the line index: %w", err)
	}
	for {
		line, next, ok := strings.Cut(rest, "\n")
		switch {
		case !ok || len(p.hashes) > 63:
			return p, errors.New("no empty line and checkpoint follow its hashes")
		case line == "":
			p.checkpoint = next
			return p, nil
		}
		h, err := parseHash(line)
		if err != nil {
			return p, fmt.Errorf("hash %d: %w", len(p.hashes)+1, err)
		}
		p.hashes, rest = append(p.hashes, h), next
	}
}

// cutLine gives what stands behind a word on the first line, and the lines after it.
func cutLine(text, word string) (value, rest string, ok bool) {
	line, rest, ok := strings.Cut(text, "\n")
	value, found := strings.CutPrefix(line, word)
	return value, rest, ok && found
}
