package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPrivate(t *testing.T) {
	const root, service, other = 0, 65532, 1000
	for _, tt := range []struct {
		mode        fs.FileMode
		owner, self int
		want        bool
	}{
		{0o600, service, service, true},
		{0o400, root, service, true},
		{0o440, root, service, true}, // as Kubernetes and systemd mount it
		{0o640, root, service, true},
		{0o640, service, service, false},
		{0o440, other, service, false},
		{0o440, -1, service, false}, // nobody knows whose it is
		{0o440, root, root, false},
		{0o460, root, service, false},
		{0o450, root, service, false},
		{0o444, root, service, false},
		{0o441, root, service, false},
		{0o442, root, service, false},
	} {
		if got := private(tt.mode, tt.owner, tt.self); got != tt.want {
			t.Errorf("mode %04o, owner %d, process %d: %v", tt.mode, tt.owner, tt.self, got)
		}
	}
	name := filepath.Join(t.TempDir(), "key")
	for mode, want := range map[os.FileMode]bool{0o600: true, 0o644: false} {
		if err := os.WriteFile(name, nil, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := Private(name, info); (err == nil) != want || err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}
