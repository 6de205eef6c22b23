// Command logreader reads an audit log over HTTP, and receipts, as an outsider would who has the C2SP specifications and a
// library of others: it is what shows that the log has the formats that it says.
//
// It knows how to drive filippo.io/torchwood and nothing of this project. It is a module of its own, so that
// the library and what comes with it are none of the product's.
//
//	logreader URL KEY [RECEIPT]...
//
// The receipts are of one proof each. It writes the log's size, and a SHA-256 over all its entries, each after its length in four bytes, big endian.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const wait = 5 * time.Minute

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "logreader:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to cancel
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("usage: logreader URL KEY [RECEIPT]...")
	}
	key, err := note.NewVerifier(args[1])
	if err != nil {
		return err
	}
	policy := torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(key.Name()), torchwood.SingleVerifierPolicy(key))
	for _, name := range args[2:] {
		if err := receipt(name, policy); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return log(ctx, args[0], policy)
}

// receipt verifies a receipt, whose extra data is the entry.
func receipt(name string, policy torchwood.Policy) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	entry, err := torchwood.ProofExtraData(text)
	if err != nil {
		return err
	}
	return torchwood.VerifyProof(policy, tlog.RecordHash(entry), text)
}

// log reads all entries. The library checks each against the root that was signed.
func log(ctx context.Context, url string, policy torchwood.Policy) error {
	fetcher, err := torchwood.NewTileFetcher(url)
	if err != nil {
		return err
	}
	signed, err := fetcher.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return err
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(signed, policy)
	if err != nil {
		return err
	}
	client, err := torchwood.NewClient(fetcher)
	if err != nil {
		return err
	}
	sum := sha256.New()
	next := int64(0)
	for i, entry := range client.AllEntries(ctx, checkpoint.Tree, 0) {
		if i != next {
			return fmt.Errorf("entry %d came, want %d", i, next)
		}
		next++
		sum.Write(binary.BigEndian.AppendUint32(nil, uint32(len(entry))))
		sum.Write(entry)
	}
	if err := client.Err(); err != nil {
		return err
	}
	if next != checkpoint.N {
		return fmt.Errorf("%d entries came of %d", next, checkpoint.N)
	}
	_, err = fmt.Printf("%d entries, sha256 %x\n", next, sum.Sum(nil))
	return err
}
