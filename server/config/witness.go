package config

import (
	"net/url"
	"path/filepath"

	"github.com/domicile-project/domicile/residency/audit/proof"
)

// Witness is somebody outside who cosigns audit logs that have not been rewritten (C2SP tlog-witness). It is shown sizes
// and hashes alone, and must know the log's public key.
type Witness struct {
	// Key is its public key: NAME+HASH+BASE64 (C2SP tlog-cosignature, Ed25519).
	Key string `yaml:"key"`

	// URL is where it is: checkpoints are posted to URL/add-checkpoint. https, or http on a loopback address.
	URL string `yaml:"url"`

	// CA is a file of PEM certificates of the authorities to trust instead of the system's. An absolute path.
	CA string `yaml:"ca,omitempty"`
}

// maxWitnesses bounds what a checkpoint grows by.
const maxWitnesses = 8

func (v *validation) witnesses(p path, list []Witness) {
	seen := map[string]bool{}
	for i, w := range list {
		at := p.with(i)
		if _, err := proof.ParseWitness(w.Key); err != nil {
			v.bad(at.with("key"), "want a witness's public key, NAME+HASH+BASE64: %v", err)
		} else if seen[w.Key] {
			v.bad(at.with("key"), "is another witness's already")
		}
		seen[w.Key] = true
		u, err := url.Parse(w.URL)
		switch {
		case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			v.bad(at.with("url"), "want https://HOST[:PORT][/PATH]")
		case u.Scheme != "https" && (u.Scheme != "http" || !Loopback(u.Host) && !Loopback(u.Host+":80")):
			v.bad(at.with("url"), "want https, or http on a loopback address")
		}
		if w.CA != "" && !filepath.IsAbs(w.CA) {
			v.bad(at.with("ca"), "want an absolute path")
		}
	}
}

// logKeys checks the public keys of a region's audit logs. One of another region's would never be the key of what is shown, and
// the logs that are meant would not be cosigned.
func (v *validation) logKeys(p path, region string, keys []string) {
	for i, text := range keys {
		key, err := proof.ParseKey(text)
		switch {
		case err != nil:
			v.bad(p.with(i), "want an audit log's public key, ORIGIN+HASH+BASE64, as audit checkpoint tells it: %v", err)
		case key.Region() != region:
			v.bad(p.with(i), "is the key of a log of region %s, %s: want one whose origin ends in /%s/CLUSTER", key.Region(), key.Origin(), region)
		}
	}
}
