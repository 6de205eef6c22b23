package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/server/config"
	"github.com/domicile-project/domicile/server/embedded"
)

// rotateLogKey puts a new key before those that a region's audit logs are signed with, or ends such a
// change. Gateways take the file into use when they start.
func rotateLogKey(ctx context.Context, f *flags, stdout io.Writer, log *slog.Logger) error {
	s, err := configure(f, false)
	if err != nil {
		return err
	}
	name, r, err := servedRegion(s.cfg, f.Region)
	if err != nil {
		return &usageError{err}
	}
	file := logKeyFile(r)
	seeds, err := readLogKey(file)
	if err != nil {
		return fmt.Errorf("the log's key: %w", err)
	}
	before := seeds
	if seeds, err = rotated(seeds, f.Finish); err != nil {
		return err
	}
	if f.Finish {
		if err := inUse(ctx, f, s.cfg, name, seeds[0], log); err != nil {
			return err
		}
	}
	if f.Finish { // they are kept until somebody deletes them: a gateway may still be without the new one
		err = replacePrivate(file+formerKeys, slices.Concat(before[1:]...))
	}
	if err == nil {
		err = replacePrivate(file, slices.Concat(seeds...))
	}
	if err != nil {
		return err
	}
	text, err := rotationText(&r, name, before, seeds, file)
	if err != nil {
		return err
	}
	_, err = io.WriteString(stdout, text)
	return err
}

// inUse returns nil when every log of a region was signed by a key: its newest checkpoint, or nothing yet. Gateways that know
// the key alone would not go on from another.
func inUse(ctx context.Context, f *flags, c *config.Config, name string, seed []byte, log *slog.Logger) error {
	if f.Config == "" {
		home, err := embedded.Inspect(f.Data)
		if err != nil {
			return err
		}
		defer home.Close() //nolint:errcheck // it is a lock
	}
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	r := c.Regions[name]
	for _, cl := range r.Clusters {
		if err := signedBy(ctx, cl, r.LogOrigin(name, cl.Name), seed, log); err != nil {
			return fmt.Errorf("cluster %s: %w", cl.Name, err)
		}
	}
	return nil
}

// signedBy returns nil when the newest checkpoint of a cluster's log was signed by a key.
func signedBy(ctx context.Context, cl config.Cluster, origin string, seed []byte, log *slog.Logger) (err error) {
	key, err := audit.NewSigner(origin, seed)
	if err != nil {
		return err
	}
	s := &stores{log: log}
	defer func() { err = errors.Join(err, s.close()) }()
	opened, err := s.readRows(cl.Rows)
	if err != nil {
		return fmt.Errorf("%w%s", err, whoHasIt(cl.Rows))
	}
	newest, witnessed, err := opened.Newest(ctx)
	switch {
	case err != nil || len(newest) == 0:
		return err
	case key.Mine(newest) != nil:
		return fmt.Errorf("the newest checkpoint of the log %s is not signed by the new key yet, %s: start every gateway of the region with the file of the first step, and wait until domicile audit checkpoint shows one that it signed", origin, key.Verifier())
	case !witnessed:
		log.Warn("a witness has not signed the newest checkpoint: one that has seen none that both keys signed will not take the new key", "log", origin)
	}
	return nil
}

// formerKeys is what the file of the keys before the newest ends in.
const formerKeys = ".former"

// servedRegion finds a region that is served here; "" is the only one.
func servedRegion(c *config.Config, name string) (string, config.Region, error) {
	var served []string
	for _, n := range regionNames(c) {
		if c.Regions[n].Peer == nil {
			served = append(served, n)
		}
	}
	if name == "" && len(served) == 1 {
		name = served[0]
	}
	if !slices.Contains(served, name) {
		return "", config.Region{}, fmt.Errorf("--region must be one that is served here: %s", strings.Join(served, ", "))
	}
	return name, c.Regions[name], nil
}

// rotated gives the seeds as they are after a step.
func rotated(seeds [][]byte, finish bool) ([][]byte, error) {
	switch {
	case finish && len(seeds) == 1:
		return nil, errors.New("no change of the key is under way: there is one key")
	case finish:
		return seeds[:1], nil
	case len(seeds) == maxLogKeys:
		return nil, fmt.Errorf("there are %d keys: end the change that is under way with --finish first", len(seeds))
	}
	seed := make([]byte, keySize)
	if _, err := rand.Read(seed); err != nil {
		return nil, err
	}
	return append([][]byte{seed}, seeds...), nil
}

// replacePrivate replaces a file of mode 0600 as a whole, durably.
func replacePrivate(file string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".new-*") // of mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// rotationText says what the keys are now and what is to be done next.
func rotationText(r *config.Region, name string, before, after [][]byte, file string) (string, error) {
	var b strings.Builder
	for _, cl := range r.Clusters {
		origin := r.LogOrigin(name, cl.Name)
		now, err := audit.NewSigner(origin, after...)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "log      %s\n  key    %s\n", origin, now.Verifier())
		if len(after) > len(before) {
			was, err := audit.NewSigner(origin, before...)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "  before %s\n", was.Verifier())
		}
	}
	witness, err := audit.NewCosigner(r.WitnessName(name), after...)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&b, "witness  %s\n  self   %s\n\n", witness.Verifier(), witness.Self().Verifier())
	if len(after) > len(before) {
		fmt.Fprintf(&b, `The new key and those before it sign once the gateways have the new file. Next:
  1. Copy %s to every gateway of the region, and start them again one by one.
  2. Give the new keys to those who verify, and bring exports up to date. Who has receipts keeps the old key for them.
  3. When all have it and domicile audit checkpoint shows a checkpoint with both keys:
     domiciled rotate-log-key --region %s --finish, and copy and start again as before. It looks whether they have signed
     (rows in a folder: while no gateway uses them).
`, file, name)
	} else {
		fmt.Fprintf(&b, `The new key alone signs once every gateway of the region has %s and was started again.
A gateway that then says that the newest checkpoint was signed by another key was not through with the first step: the keys
before are in %s%s, to be put behind the new one. Delete that file when all is well.
`, file, file, formerKeys)
	}
	return b.String(), nil
}
