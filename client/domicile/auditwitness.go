package main

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/domicile-project/domicile/residency/audit/proof"
)

// logHead is a checkpoint, as programs read it.
type logHead struct {
	Origin     string     `json:"origin"`
	Size       uint64     `json:"size"`
	Root       string     `json:"root"`
	Witness    []string   `json:"witness"` // who cosigned; "self" when that is nobody but the log's own operator
	Cosigned   []cosigner `json:"cosigned,omitempty"`
	Unverified []cosigner `json:"unverified,omitempty"`
}

// cosigner is a witness of a checkpoint.
type cosigner struct {
	Name string `json:"name"`
	Kind string `json:"kind,omitempty"` // given: its key was; self, peer or outside: what the log says of a witness that it names
	Time string `json:"time,omitempty"` // when it signed
	Why  string `json:"why,omitempty"`  // its signature was not verified
}

// witnessGiven is the kind of a witness whose key the command was given.
const witnessGiven = "given"

func headOf(c *proof.Checkpoint) logHead {
	h := logHead{Origin: c.Origin, Size: c.Size, Root: base64.StdEncoding.EncodeToString(c.Root[:])}
	for _, s := range c.Cosigned {
		h.Witness = append(h.Witness, s.Witness)
		h.Cosigned = append(h.Cosigned, cosigner{Name: s.Witness, Kind: witnessGiven, Time: s.Time.UTC().Format(time.RFC3339)})
	}
	for _, s := range c.Named {
		if s.Kind != "self" {
			h.Witness = append(h.Witness, fmt.Sprintf("%s (%s, by a key that the log names)", s.Witness, s.Kind))
		}
		h.Cosigned = append(h.Cosigned, cosigner{Name: s.Witness, Kind: s.Kind, Time: s.Time.UTC().Format(time.RFC3339)})
	}
	if len(h.Witness) == 0 {
		h.Witness = []string{"self"}
	}
	for _, s := range c.Absent {
		h.Unverified = append(h.Unverified, cosigner{Name: s.Witness, Kind: s.Kind, Why: "the log names it, and it has not signed"})
	}
	for _, name := range c.Unchecked {
		h.Unverified = append(h.Unverified, cosigner{Name: name, Why: "its key is not known: give it with --witness"})
	}
	return h
}

// text says who and when, for people.
func (c cosigner) text() string {
	out := c.Name
	switch c.Kind {
	case "self":
		out += " (self: the log's own operator)"
	case "peer", "outside":
		out += " (" + c.Kind + ", by a key that the log names)"
	}
	if c.Time != "" {
		out += " at " + c.Time
	}
	if c.Why != "" {
		out += ": " + c.Why
	}
	return out
}

// cosignedTexts list who cosigned; "self" alone when nobody did.
func (h *logHead) cosignedTexts() []string {
	if len(h.Cosigned) == 0 {
		return []string{"self"}
	}
	return texts(h.Cosigned)
}

// witnessFields are what is said to people of a checkpoint's witnesses.
func (h *logHead) witnessFields() []field {
	return []field{{"witness", strings.Join(h.cosignedTexts(), "; ")}, {"not verified", strings.Join(texts(h.Unverified), "; ")}}
}

func texts(list []cosigner) (out []string) {
	for _, c := range list {
		out = append(out, c.text())
	}
	return out
}
