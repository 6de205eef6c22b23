package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/domicile-project/domicile/residency/audit/proof"
)

// What the commands that verify are given to trust: keys, witnesses, and what was kept of a log.

// logKey is a log's public key, and how it was written.
type logKey struct {
	proof.Key
	text string
}

// logKeys are keys as they were given. Of the keys of one log the first is the one that it signs with, and the others are
// those before it: they verify what was kept from then, and no log.
type logKeys []logKey

// readKeys reads the values of --key.
func readKeys(names []string) (logKeys, error) {
	var out logKeys
	for _, name := range names {
		text, err := keyText("--key", name)
		if err != nil {
			return nil, err
		}
		key, err := proof.ParseKey(text)
		if err != nil {
			return nil, usagef("--key: %v", err)
		}
		out = append(out, logKey{key, text})
	}
	return out, nil
}

// readKeysOfOne reads the values of --key where all must be of one log.
func readKeysOfOne(names []string) (logKeys, error) {
	keys, err := readKeys(names)
	for _, k := range keys {
		if err == nil && k.Origin() != keys[0].Origin() {
			err = usagef("--key: %s and %s are different logs: verify one at a time", printable(keys[0].Origin()), printable(k.Origin()))
		}
	}
	return keys, err
}

// of gives the keys of a log.
func (ks logKeys) of(origin string) logKeys {
	var out logKeys
	for _, k := range ks {
		if k.Origin() == origin {
			out = append(out, k)
		}
	}
	return out
}

// byAny does something with the log's key or, when that fails, with the ones before it; its error is that of the first.
func byAny[T any](keys logKeys, do func(proof.Key) (T, error)) (out T, err error) {
	for i, key := range keys {
		got, failed := do(key.Key)
		if failed == nil {
			return got, nil
		}
		if i == 0 {
			err = failed
		}
	}
	return out, err
}

// receipts verifies a file of receipts, which the log's key or one before it signed.
func (ks logKeys) receipts(name string, witnesses []proof.Witness) ([]proof.Receipt, error) {
	file, err := readSmall(name, proof.MaxReceipts)
	if err == nil {
		err = mistaken(file, "a receipt")
	}
	if err != nil {
		return nil, err
	}
	return byAny(ks, func(k proof.Key) ([]proof.Receipt, error) { return k.VerifyReceipts(file, witnesses...) })
}

// checkpoint opens an earlier checkpoint, which the log's key or one before it signed.
func (ks logKeys) checkpoint(signed []byte) (proof.Checkpoint, error) {
	return byAny(ks, func(k proof.Key) (proof.Checkpoint, error) { return k.OpenCheckpoint(signed) })
}

// remembered reads earlier checkpoints of the keys' log.
func (ks logKeys) remembered(names []string) ([]proof.Checkpoint, error) {
	var out []proof.Checkpoint
	for _, name := range names {
		signed, err := readCheckpoint(name)
		if err != nil {
			return nil, err
		}
		old, err := ks.checkpoint(signed)
		if err != nil {
			return nil, fmt.Errorf("--checkpoint: %s: %w", name, err)
		}
		out = append(out, old)
	}
	return out, nil
}

// verify verifies a log, whose checkpoint the first key must have signed: who still has a key from before could make one
// that the log never had.
func (ks logKeys) verify(ctx context.Context, src proof.Source, o proof.Options) (proof.Report, error) {
	r, err := proof.VerifyLog(ctx, src, ks[0].Key, o)
	if err == nil || len(ks) == 1 {
		return r, err
	}
	signed, unread := src.ReadFile(ctx, "checkpoint", proof.MaxCheckpoint)
	if unread != nil {
		return r, err
	}
	if _, byFirst := ks[0].OpenCheckpoint(signed); byFirst == nil {
		return r, err
	}
	if _, byFormer := ks[1:].checkpoint(signed); byFormer == nil {
		err = errors.New("its checkpoint is not signed by the key that was given first, only by one given behind it: a log's own key comes first; of a log as it was before its key changed, that is the key of then")
	}
	return r, err
}

// readWitnesses reads the values of --witness.
func readWitnesses(names []string) ([]proof.Witness, error) {
	var out []proof.Witness
	for _, name := range names {
		text, err := keyText("--witness", name)
		if err != nil {
			return nil, err
		}
		w, err := proof.ParseWitness(text)
		if err != nil {
			return nil, usagef("--witness: %v", err)
		}
		out = append(out, w)
	}
	return out, nil
}

// keyText gives a key, or what the file of a name after @ holds.
func keyText(flag, text string) (string, error) {
	name, ok := strings.CutPrefix(text, "@")
	if !ok {
		if _, err := os.Stat(text); err == nil && !strings.Contains(text, "+") {
			return "", usagef("%s: %s is the name of a file: write @%s for the key that it holds", flag, printable(text), printable(text))
		}
		return text, nil
	}
	b, err := readSmall(name, proof.MaxCheckpoint)
	if err != nil {
		return "", usagef("%s: %v", flag, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// readCheckpoint reads a checkpoint that was kept.
func readCheckpoint(name string) ([]byte, error) {
	signed, err := readSmall(name, proof.MaxReceipts) // a receipt too, to say what it is
	if err == nil {
		err = mistaken(signed, "a checkpoint")
	}
	if err != nil {
		return nil, fmt.Errorf("--checkpoint: %s: %w", name, err)
	}
	return signed, nil
}

// mistaken says what a file is when that is not what is wanted, as far as its form shows.
func mistaken(file []byte, want string) error {
	is, text := "", string(file)
	_, notKey := proof.ParseKey(strings.TrimSpace(text))
	switch {
	case notKey == nil:
		is = "a log's key, which --key takes"
	case strings.HasPrefix(text, "c2sp.org/tlog-proof@"):
		is = "a receipt, which audit verify takes beside --log as --receipt"
	case strings.Contains(text, "\n\n— "):
		is = "a checkpoint, which audit verify takes beside --log as --checkpoint"
	}
	if is == "" || strings.HasPrefix(is, want) {
		return nil
	}
	return fmt.Errorf("it is %s; wanted is %s, as audit %s keeps it", is, want, strings.TrimPrefix(want, "a "))
}

// readSmall reads a file of at most so many bytes.
func readSmall(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return b, err
}

// firstLine gives a checkpoint's origin, which nothing has verified yet.
func firstLine(signed []byte) string {
	line, _, _ := strings.Cut(string(signed), "\n")
	return line
}
