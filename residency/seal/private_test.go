package seal

import (
	"io/fs"
	"testing"
)

// A keyring is its owner's alone, but that root may hand one to a group.
func TestPrivate(t *testing.T) {
	const root, service, other = 0, 65532, 1000
	for _, tt := range []struct {
		mode        fs.FileMode
		owner, self int
		want        bool
	}{
		{0o600, service, service, true},
		{0o440, root, service, true},
		{0o640, root, service, true},
		{0o640, service, service, false},
		{0o440, other, service, false},
		{0o440, -1, service, false},
		{0o440, root, root, false},
		{0o460, root, service, false},
		{0o450, root, service, false},
		{0o444, root, service, false},
	} {
		if got := private(tt.mode, tt.owner, tt.self); got != tt.want {
			t.Errorf("mode %04o, owner %d, process %d: %v", tt.mode, tt.owner, tt.self, got)
		}
	}
}
