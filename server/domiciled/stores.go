package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/server/admin"
	"github.com/domicile-project/domicile/server/config"
	"github.com/domicile-project/domicile/server/witness"
)

// stores is everything that was opened, to be closed in the opposite order.
type stores struct {
	regions      []gateway.Region
	directory    store.Directory
	directoryKey []byte

	log     *slog.Logger
	metrics *storeMetrics
	closers []func() error

	mu      sync.Mutex
	stopped []string // the engines that have stopped for good
}

// openStores opens every region's stores and the directory. After an error
// nothing is open.
func openStores(c *config.Config, reg prometheus.Registerer, log *slog.Logger) (*stores, error) {
	s := &stores{log: log, metrics: newStoreMetrics(reg)}
	if err := s.open(c); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stores) open(c *config.Config) error {
	if err := s.openDirectory(c); err != nil {
		return err
	}
	for _, name := range regionNames(c) {
		if c.Regions[name].Peer != nil {
			continue
		}
		r, err := s.openRegion(c, name)
		if err != nil {
			return fmt.Errorf("region %s: %w", name, err)
		}
		s.regions = append(s.regions, r)
	}
	return nil
}

func (s *stores) openDirectory(c *config.Config) error {
	var err error
	if s.directoryKey, err = openDirectoryKey(c); err != nil {
		return fmt.Errorf("directory key: %w", err)
	}
	directory, err := s.openPlacements(c.Directory, s.log.With(slog.String("component", "directory")))
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	s.directory = &timedDirectory{directory, s.metrics.told("", "directory", "find", "reserve", "update")}
	return nil
}

func (s *stores) openRegion(c *config.Config, name string) (gateway.Region, error) {
	r := c.Regions[name]
	out := gateway.Region{Name: residency.Region(name), Controller: r.Controller, Endpoint: r.Endpoint, AuditRetention: r.AuditRetention}
	var err error
	if out.Jurisdiction, err = residency.ParseJurisdiction(r.Jurisdiction); err != nil {
		return out, err
	}
	if out.Policies, err = c.LoadPolicies(name); err != nil {
		return out, err
	}
	if out.Vault, err = s.openVault(r, name); err != nil {
		return out, fmt.Errorf("keys: %w", err)
	}
	seeds, err := openLogKey(r)
	if err != nil {
		return out, fmt.Errorf("audit key: %w", err)
	}
	if out.Cosigner, err = audit.NewCosigner(r.WitnessName(name), seeds...); err != nil {
		return out, err
	}
	for _, w := range r.Witnesses {
		outside, err := witness.New(w)
		if err != nil {
			return out, fmt.Errorf("witness: %w", err)
		}
		out.Witnesses = append(out.Witnesses, outside)
	}
	for _, cl := range r.Clusters {
		opened, err := s.openCluster(name, cl)
		if err != nil {
			return out, fmt.Errorf("cluster %s: %w", cl.Name, err)
		}
		if opened.Signer, err = audit.NewSigner(r.LogOrigin(name, cl.Name), seeds...); err != nil {
			return out, fmt.Errorf("cluster %s: %w", cl.Name, err)
		}
		out.Clusters = append(out.Clusters, opened)
	}
	return out, nil
}

func (s *stores) openVault(r config.Region, name string) (*seal.Vault, error) {
	_, folder := config.Location(r.Keys)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	ring, err := seal.OpenFileKeyring(filepath.Join(folder, "root"))
	if err != nil {
		return nil, err
	}
	keys, err := s.openWrapped(r, name, s.log.With(slog.String("component", "keys"), slog.String("region", name)))
	if err != nil {
		return nil, err
	}
	timed := &timedKeys{keys, s.metrics.told(name, "keys", "get", "create", "destroy")}
	return seal.NewVault(residency.Region(name), ring, timed, seal.Options{}), nil
}

func (s *stores) openCluster(region string, cl config.Cluster) (gateway.Cluster, error) {
	log := func(component string) *slog.Logger {
		return s.log.With(slog.String("component", component), slog.String("region", region), slog.String("cluster", cl.Name))
	}
	out, err := s.openRows(region, cl.Rows, log("rows"))
	if err != nil {
		return gateway.Cluster{}, err
	}
	objects, err := s.openBlobs(cl.Blobs, log("blobs"))
	if err != nil {
		return gateway.Cluster{}, err
	}
	out.Name, out.Weight, out.Closed = cl.Name, cl.Share(), cl.Closed
	out.Blobs = &timedBlobs{objects, s.metrics.told(region, "blobs", "open", "commit", "delete")}
	return out, nil
}

// watch notes when an engine has stopped for good. The region then is unavailable
// until the process is started again: readiness says so, and health, for the supervisor.
func (s *stores) watch(what, region string, failed <-chan struct{}) {
	stop := make(chan struct{})
	s.closers = append(s.closers, func() error { close(stop); return nil })
	go func() {
		select {
		case <-failed:
			s.fail(what, region)
			s.log.Error("a store has stopped for good; start the gateway again", slog.String("store", what), slog.String("region", region))
		case <-stop:
		}
	}()
}

func (s *stores) fail(what, region string) {
	text := fmt.Sprintf("the %s store has stopped for good: start the gateway again", what)
	if region != "" {
		text = fmt.Sprintf("region %s: %s", region, text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = append(s.stopped, text)
}

// healthy is what /healthz asks.
func (s *stores) healthy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.stopped) == 0 {
		return nil
	}
	return &admin.Problem{Shown: slices.Clone(s.stopped), Err: errors.New(strings.Join(s.stopped, "; "))}
}

// close closes everything, the last opened first.
func (s *stores) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// keySize is the directory key's length in bytes.
const keySize = 32

// directoryKey reads the key of the directory's digests, and makes it when neither it nor
// the directory is there yet. A directory whose key is lost is refused: under
// another key its tenants would not be found, and could be registered anew.
func directoryKey(file, directory string) ([]byte, error) {
	key, err := readKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		if entries, err := os.ReadDir(directory); err == nil && len(entries) > 0 {
			return nil, fmt.Errorf("%s is missing but the directory %s is there: restore the key", file, directory)
		}
		return makeKey(file)
	}
	return key, err
}

// openLogKey reads the seeds of the keys that a region's audit logs are signed with, from beside the region's
// roots, and makes one when there is none. All gateways of the region need the same: one that has another
// signs nothing.
func openLogKey(r config.Region) ([][]byte, error) {
	file := logKeyFile(r)
	seeds, err := readLogKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		var seed []byte
		if seed, err = makeKey(file); errors.Is(err, fs.ErrExist) {
			return readLogKey(file)
		}
		seeds = [][]byte{seed}
	}
	return seeds, err
}

func logKeyFile(r config.Region) string {
	_, folder := config.Location(r.Keys)
	return filepath.Join(folder, "audit")
}

// maxLogKeys is how many keys a region's logs have at once: the newest, and those that it follows.
const maxLogKeys = 4

// readLogKey reads the seeds in a file, the newest first.
func readLogKey(file string) ([][]byte, error) {
	b, err := readPrivate(file)
	if err != nil {
		return nil, err
	}
	if len(b) == 0 || len(b)%keySize != 0 || len(b) > maxLogKeys*keySize {
		return nil, fmt.Errorf("%s has %d bytes, want %d random ones, the same for all gateways of the region, and %d more for each key before it, up to %d",
			file, len(b), keySize, keySize, maxLogKeys-1)
	}
	return slices.Collect(slices.Chunk(b, keySize)), nil
}

// readKey reads a key that nobody else may read.
func readKey(file string) ([]byte, error) {
	key, err := readPrivate(file)
	if err == nil && len(key) != keySize {
		err = fmt.Errorf("%s has %d bytes, want %d", file, len(key), keySize)
	}
	return key, err
}

// readPrivate reads a file that nobody else may read.
func readPrivate(file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(file)
	if err == nil {
		err = config.Private(file, info)
	}
	return b, err
}

// makeKey makes a key, durable before it is used.
func makeKey(file string) ([]byte, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".new-*") // of mode 0600
	if err != nil {
		return nil, err
	}
	_, err = tmp.Write(key)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Link(tmp.Name(), file) // fails when another process was first
	}
	if err = errors.Join(err, os.Remove(tmp.Name())); err != nil {
		return nil, err
	}
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	return key, errors.Join(folder.Sync(), folder.Close())
}
