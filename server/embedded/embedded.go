// Package embedded knows the default that needs no configuration: the layout of
// one data folder that serves Switzerland and the United States on this machine,
// the private authority and the identities that its first start makes, and the
// lock that keeps two gateways from sharing it.
package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/domicile-project/domicile/server/config"
)

// The default addresses; both are of this machine only.
const (
	Listen      = "127.0.0.1:8443"
	AdminListen = "127.0.0.1:9464"
)

// Home is a data folder that is in use by this process.
type Home struct {
	dir  string
	lock *os.File
}

// Open makes the data folder if there is none, locks it, and makes or renews
// the authority and the identities under DIR/identity. It fails, naming the folder,
// when another gateway uses it. Close must be called.
func Open(dir string, now time.Time) (*Home, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	if err := ours(dir); err != nil {
		return nil, err
	}
	for _, d := range []string{dir, filepath.Join(dir, "keys"), filepath.Join(dir, "identity")} {
		if err := private(d); err != nil {
			return nil, err
		}
	}
	lock, err := acquire(dir)
	if err != nil {
		return nil, err
	}
	h := &Home{dir: dir, lock: lock}
	if err := h.clear(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	if err := makeIdentities(filepath.Join(dir, "identity"), now); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// ours refuses a folder that holds something else than a gateway's data, before
// anything in it is changed.
func ours(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	for _, e := range entries {
		if e.Name() == "lock" || e.Name() == "identity" || e.Name() == "addresses.json" {
			return nil
		}
	}
	return fmt.Errorf("%s holds files that are not a gateway's: choose an empty or a new folder with --data", dir)
}

// private makes a folder that only its owner may enter. One that others can
// enter is narrowed.
func private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder needs its execute bit
		return fmt.Errorf("embedded: %w", err)
	}
	return nil
}

// acquire locks the folder for as long as this process lives.
func acquire(dir string) (*os.File, error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("%s is in use by another gateway: stop that one, or choose another folder with --data", dir), f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded: lock %s: %w", name, err), f.Close())
	}
	return f, nil
}

// Close gives the folder free.
func (h *Home) Close() error { return h.lock.Close() }

// Dir is the folder's absolute path.
func (h *Home) Dir() string { return h.dir }

// Config is the folder's configuration.
func (h *Home) Config() *config.Config { return configOf(h.dir) }

// Config gives the configuration of the embedded default in a folder, without
// touching the folder.
func Config(dir string) (*config.Config, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	return configOf(dir), nil
}

func configOf(dir string) *config.Config {
	identity := filepath.Join(dir, "identity")
	return &config.Config{
		Gateway: config.Gateway{
			Name: "embedded", Jurisdiction: "CH", Listen: Listen, AdminListen: AdminListen,
			MixedJurisdictions: false, Reflection: true,
		},
		TLS: config.TLS{
			Certificate: filepath.Join(identity, serverName+".crt"),
			Key:         filepath.Join(identity, serverName+".key"),
			ClientCA:    filepath.Join(identity, authorityName+".crt"),
		},
		Regions: map[string]config.Region{
			"ch": region(dir, "ch", "CH", "CloudSigma AG", "ch-2012-05-02.yaml"),
			"us": region(dir, "us", "US", "CloudSigma Inc", "us-2011-10-07.yaml"),
		},
		Directory:    "pebble:" + filepath.Join(dir, "directory"),
		DirectoryKey: "file:" + filepath.Join(dir, "keys", "directory.key"),
		Callers:      callers(),
		Limits:       config.Limits{}.WithDefaults(),
	}
}

func region(dir, name, jurisdiction, controller, policy string) config.Region {
	return config.Region{
		Jurisdiction: jurisdiction,
		Controller:   controller,
		Policies:     []string{policy},
		Keys:         "file:" + filepath.Join(dir, "keys", name),
		Clusters: []config.Cluster{{
			Name: name + "-1", Location: jurisdiction, Owner: controller,
			Rows:  "pebble:" + filepath.Join(dir, name, "rows"),
			Blobs: "file:" + filepath.Join(dir, name, "blobs"),
		}},
	}
}

// addresses is where a gateway serves, for whoever finds it by its data folder.
type addresses struct {
	GRPC  string `json:"grpc"`
	Admin string `json:"admin"`
}

// Publish writes DIR/addresses.json, whole or not at all. Unpublish removes it.
func (h *Home) Publish(grpc, admin string) error {
	text, err := json.Marshal(addresses{grpc, admin})
	if err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	return writeFile(h.addresses(), append(text, '\n'), 0o644)
}

// Unpublish says that nothing is served here any more.
func (h *Home) Unpublish() error { return h.clear() }

func (h *Home) addresses() string { return filepath.Join(h.dir, "addresses.json") }

func (h *Home) clear() error {
	if err := os.Remove(h.addresses()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("embedded: %w", err)
	}
	return nil
}

// writeFile puts a file in place durably, whole or not at all.
func writeFile(name string, text []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("embedded: write %s: %w", name, err)
	}
	return nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
