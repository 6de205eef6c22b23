package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Inspect takes an existing data folder for this process alone, to look at what is in it: nothing is made or
// changed. It fails, naming the folder, when a gateway uses it. Close must be called.
func Inspect(dir string) (*Home, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	f, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is no gateway's data folder: name the one that a gateway was started with by --data", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("%s is in use by a gateway: stop it first, and start it again afterwards", dir), f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded: lock %s: %w", dir, err), f.Close())
	}
	return &Home{dir: dir, lock: f}, nil
}
