package pebble

import (
	"errors"
	"log/slog"
)

// A database that is opened for reading alone is not changed by anything: no file is made, written or removed, and what
// the log holds is replayed in memory. It must be there, and no other process may have it open. Every
// operation that writes is refused.

var errReadOnlyStore = errors.New("store: the database was opened for reading alone")

// ReadCluster opens the database of a cluster for reading alone.
func ReadCluster(dir string, o Options) (*Cluster, error) {
	o.readOnly = true
	return OpenCluster(dir, o)
}

// ReadDirectory opens the database of a directory for reading alone.
func ReadDirectory(dir string, log *slog.Logger) (*Directory, error) {
	return openDirectory(dir, Options{Logger: log, CacheBytes: 8 << 20, memTableBytes: 4 << 20, readOnly: true})
}

// ReadKeys opens the database of a key store for reading alone. Destroyed keys that are still to be purged from its
// files wait until it is opened for writing.
func ReadKeys(dir string, log *slog.Logger) (*Keys, error) {
	return openKeys(dir, Options{Logger: log, CacheBytes: 8 << 20, memTableBytes: 4 << 20, readOnly: true})
}
