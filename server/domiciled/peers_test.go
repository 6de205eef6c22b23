package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/domicile-project/domicile/server/config"
)

// A gateway that has peers draws no directory key of its own: under another than theirs a name could be given out in each region.
func TestDirectoryKeyOfPeersIsTheirs(t *testing.T) {
	dir := t.TempDir()
	c := &config.Config{
		Directory: "pebble:" + filepath.Join(dir, "directory"), DirectoryKey: "file:" + filepath.Join(dir, "directory.key"),
		Regions: map[string]config.Region{"ch": {}, "us": {Peer: &config.Peer{Address: "gateway-us:8443"}}},
	}
	if _, err := openDirectoryKey(c); err == nil || !strings.Contains(err.Error(), "the same for the gateways of all regions") {
		t.Errorf("a missing key gave %v", err)
	}
	delete(c.Regions, "us")
	if key, err := openDirectoryKey(c); err != nil || len(key) != keySize {
		t.Errorf("without a peer: %d bytes, %v", len(key), err)
	}
	c.Regions["us"] = config.Region{Peer: &config.Peer{Address: "gateway-us:8443"}}
	if _, err := openDirectoryKey(c); err != nil {
		t.Errorf("a key that is there: %v", err)
	}
}
