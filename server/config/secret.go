package config

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Private checks that a file with a secret is its owner's alone. A file of root's may also be
// readable by its group, to a process that is not root: so systems that hand secrets to
// services mount them (Kubernetes, systemd), and only root could have put it there.
func Private(name string, info fs.FileInfo) error {
	owner := -1
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(s.Uid)
	}
	if private(info.Mode().Perm(), owner, os.Geteuid()) {
		return nil
	}
	return fmt.Errorf("%s is open to others than its owner (mode %04o): make it 0600", name, info.Mode().Perm())
}

func private(mode fs.FileMode, owner, self int) bool {
	const others, othersButGroupReading = 0o077, 0o037
	return mode&others == 0 || owner == 0 && self != 0 && mode&othersButGroupReading == 0
}
