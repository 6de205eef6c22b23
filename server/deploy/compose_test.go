package deploy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/domicile-project/domicile/server/config"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := prepared(); err == nil && dir != "" {
		_ = os.RemoveAll(dir) // it is in the system's temporary folder
	}
	os.Exit(code)
}

// wanted says that a test needs what ./prepare makes.
var wanted atomic.Bool

// prepared gives a folder in which ./prepare has run, once for all tests.
var prepared = sync.OnceValues(func() (string, error) {
	if !wanted.Load() {
		return "", nil
	}
	dir, err := os.MkdirTemp("", "domicile-deploy-")
	if err == nil {
		err = os.CopyFS(dir, os.DirFS("compose"))
	}
	if err == nil {
		err = errors.Join(os.RemoveAll(filepath.Join(dir, "secrets")), os.RemoveAll(filepath.Join(dir, ".env")))
	}
	if err == nil {
		_, err = execute(dir, nil, "bash", "prepare")
	}
	return dir, err
})

// withSecrets puts what ./prepare makes into a copy of the folder.
func withSecrets(root string) error {
	wanted.Store(true)
	from, err := prepared()
	if err != nil {
		return err
	}
	_, err = execute(from, nil, "cp", "-a", "secrets", ".env", filepath.Join(root, "compose"))
	return err
}

// checkCompose has docker-compose read the file, and holds what comes of it against who may reach
// what, and against the configurations that it mounts.
func checkCompose(root string) error {
	if err := withSecrets(root); err != nil {
		return err
	}
	dir := filepath.Join(root, "compose")
	text, err := execute(dir, nil, "docker-compose", "config")
	if err != nil {
		return err
	}
	var file map[string]any
	if err := yaml.Unmarshal(text, &file); err != nil {
		return err
	}
	all := object(file)
	w := &wants{}
	for _, region := range []string{"ch", "us"} {
		w.errs = append(w.errs, checkRegion(dir, region, all))
	}
	for name := range all.object("services") {
		w.errs = append(w.errs, checkContainer(name, all.object("services", name)))
	}
	return w.err()
}

// checkContainer holds one service against what it must not be able to do.
func checkContainer(name string, s object) error {
	w := &wants{}
	for _, v := range s.texts("volumes") {
		if from, _, ok := strings.Cut(v, ":"); ok && strings.HasPrefix(from, "/") {
			_, err := os.Stat(from)
			w.that(err == nil, "%s: mounts %s, which is not there", name, from)
			w.that(strings.HasSuffix(v, ":ro"), "%s: may write %s", name, from)
		}
	}
	for _, p := range s.texts("ports") {
		w.that(strings.HasPrefix(p, "127.0.0.1:"), "%s: can be reached from other machines at %s", name, p)
	}
	if strings.HasPrefix(name, "postgres-") { // its entry point becomes the user postgres
		return w.err()
	}
	w.that(s.at("read_only") == true, "%s: may write its image", name)
	w.that(slices.Equal(s.texts("cap_drop"), []string{"ALL"}), "%s: keeps capabilities", name)
	w.that(slices.Contains(s.texts("security_opt"), "no-new-privileges:true"), "%s: may gain rights", name)
	if strings.HasPrefix(name, "gateway-") || strings.HasPrefix(name, "migrate-") || strings.HasPrefix(name, "s3-") {
		user := s.text("user")
		w.that(user != "" && !strings.HasPrefix(user, "0:") && user != "0" && !strings.HasPrefix(user, "root"), "%s: runs as %q", name, user)
	}
	return w.err()
}

// networks gives the names of a service's networks.
func networks(s object) []string {
	out := s.texts("networks")
	for name := range s.object("networks") {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// checkRegion holds one region's services against the configuration of its gateways.
func checkRegion(dir, region string, all object) error {
	w := &wants{}
	services, stores := all.object("services"), "stores-"+region
	w.that(all.at("networks", stores, "internal") == true, "the network %s leads elsewhere", stores)
	own := map[string][]string{
		"postgres-" + region: {stores}, "s3-" + region: {stores}, "migrate-" + region: {stores},
		"gateway-" + region + "-1": {"border", stores}, "gateway-" + region + "-2": {"border", stores},
	}
	for name := range services {
		got := networks(services.object(name))
		if want, ok := own[name]; ok {
			w.that(slices.Equal(got, want), "%s is on the networks %v, want %v", name, got, want)
		} else {
			w.that(!slices.Contains(got, stores), "%s can reach the stores of %s", name, region)
		}
	}
	for name := range own {
		s := services.object(name)
		w.that(s != nil, "there is no service %s", name)
		if !strings.HasPrefix(name, "gateway-") {
			w.that(len(s.texts("ports")) == 0, "%s is published", name)
			continue
		}
		w.that(s.text("depends_on", "migrate-"+region, "condition") == "service_completed_successfully", "%s does not wait for the tables", name)
		agent := "agent" + strings.TrimPrefix(name, "gateway")
		w.that(services.text(agent, "network_mode") == "service:"+name, "%s does not run where the admin listener of %s answers", agent, name)
		w.errs = append(w.errs, checkGateway(dir, region, name, s))
	}
	return w.err()
}

// checkGateway reads a gateway's configuration with its environment, the mounted files being where they are here.
func checkGateway(dir, region, name string, s object) error {
	text, err := os.ReadFile(filepath.Join(dir, region+".yaml"))
	if err != nil {
		return err
	}
	secrets := filepath.Join(dir, "secrets", region, "gateway")
	w := &wants{}
	mounts := strings.Join(s.texts("volumes"), "\n")
	w.that(strings.Contains(mounts, filepath.Join(dir, region+".yaml")+":/etc/domicile/domicile.yaml:ro"), "%s: has no configuration", name)
	w.that(strings.Contains(mounts, secrets+":/run/secrets:ro"), "%s: has no secrets", name)
	here := filepath.Join(dir, name+".here.yaml")
	if err := os.WriteFile(here, []byte(strings.ReplaceAll(string(text), "/run/secrets", secrets)), 0o600); err != nil {
		return err
	}
	var environ []string
	for key := range s.object("environment") {
		environ = append(environ, key+"="+s.text("environment", key))
	}
	c, err := accepted(here, environ...)
	if err != nil {
		return err
	}
	w.that(c.Gateway.Name == strings.TrimPrefix(name, "gateway-"), "%s: is named %q", name, c.Gateway.Name)
	w.errs = append(w.errs, checkIdentity(region, c), checkSecrets(string(text), secrets), checkHosts(region, string(text)))
	return w.err()
}

// checkIdentity holds a gateway's certificate against what the peers of the region, and its callers, are told of it.
func checkIdentity(region string, c *config.Config) error {
	pair, err := tls.LoadX509KeyPair(c.TLS.Certificate, c.TLS.Key)
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(c.TLS.ClientCA)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	w := &wants{}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "gateway-" + region, KeyUsages: []x509.ExtKeyUsage{use}})
		w.that(err == nil, "the certificate of %s's gateways: %v", region, err)
	}
	w.that(len(pair.Leaf.URIs) == 1 && pair.Leaf.URIs[0].String() == "spiffe://example.org/"+region+"/gateway", "the identity of %s's gateways is %v", region, pair.Leaf.URIs)
	for name, r := range c.Regions {
		if r.Peer != nil {
			w.that(r.Peer.Identity == "spiffe://example.org/"+name+"/gateway" && r.Peer.Address == "gateway-"+name+":8443", "%s knows the peer %s as %s at %s", region, name, r.Peer.Identity, r.Peer.Address)
		}
	}
	return w.err()
}

// checkSecrets holds the files that a configuration names against those that are there.
func checkSecrets(text, secrets string) error {
	w := &wants{}
	for _, m := range regexp.MustCompile(`/run/secrets(/[a-z.]+)`).FindAllStringSubmatch(text, -1) {
		info, err := os.Stat(secrets + m[1])
		w.that(err == nil && info.Mode().Perm()&0o077 == 0, "%s: %v", m[1], err)
	}
	for file, size := range map[string]int64{"keys/root": 113, "keys/audit": 32, "directory.key": 32} {
		info, err := os.Stat(filepath.Join(secrets, file))
		w.that(err == nil && info.Size() == size, "%s: want %d bytes", file, size)
	}
	return w.err()
}

// checkHosts lets a region's configuration name stores of its own alone.
func checkHosts(region, text string) error {
	w := &wants{}
	hosts := regexp.MustCompile(`(?:postgres://domicile@|s3://)([^:/]+):`).FindAllStringSubmatch(text, -1)
	w.that(len(hosts) == 4, "%s: %d stores, want rows, directory, keys and blobs", region, len(hosts))
	for _, h := range hosts {
		w.that(h[1] == "postgres-"+region || h[1] == "s3-"+region, "%s: keeps data at %s", region, h[1])
	}
	return w.err()
}

// Keys that are there are never replaced: what they sealed would be lost.
func TestPrepareKeepsWhatIsThere(t *testing.T) {
	need(t, []string{"openssl"})
	root := copied(t)
	if err := withSecrets(root); err != nil {
		t.Fatal(err)
	}
	directory := func(region string) string {
		text, err := os.ReadFile(filepath.Join(root, "compose", "secrets", region, "gateway", "directory.key"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	before := directory("ch")
	if directory("us") != before {
		t.Error("the regions have two keys for one directory of tenants")
	}
	_, err := execute(filepath.Join(root, "compose"), nil, "bash", "prepare")
	if err == nil || !strings.Contains(err.Error(), "./secrets is there") {
		t.Errorf("a second run: %v", err)
	}
	if directory("ch") != before {
		t.Error("the second run changed the keys")
	}
	for _, name := range []string{"admin-ch", "app-us", "sre"} {
		file := filepath.Join(root, "compose", "secrets", "identity", name)
		if pair, err := tls.LoadX509KeyPair(file+".crt", file+".key"); err != nil || len(pair.Leaf.URIs) != 1 {
			t.Error(fmt.Errorf("identity %s: %w", name, err))
		}
	}
}
