package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/domicile-project/domicile/client"
)

// call connects as the identity that the flags name, does something, and disconnects.
func (a *app) call(do func(*client.Client) error) error {
	address, err := a.address()
	if err != nil {
		return err
	}
	identity, err := a.identity(a.flags.Identity)
	if err != nil {
		return err
	}
	return a.callAs(address, identity, do)
}

func (a *app) callAs(address string, identity client.Identity, do func(*client.Client) error) error {
	c, err := a.dial(address, identity)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c)
}

func (a *app) dial(address string, identity client.Identity) (*client.Client, error) {
	return client.Dial(a.ctx, client.Options{
		Address:    address,
		Identity:   identity,
		ServerName: a.flags.ServerName,
		UserAgent:  "domicile/" + version,
		Timeout:    time.Duration(a.flags.Timeout),
	})
}

// address gives the address to call: the one named, else that of the gateway
// that serves from the data folder.
func (a *app) address() (string, error) {
	if a.flags.Address != "" {
		if _, _, err := net.SplitHostPort(a.flags.Address); err != nil && !strings.Contains(a.flags.Address, "://") {
			return "", usagef("--address: want HOST:PORT, for example 127.0.0.1:8443")
		}
		return a.flags.Address, nil
	}
	listening, err := readAddresses(a.flags.Data)
	return listening.GRPC, err
}

// addresses are where an embedded gateway listens, as its addresses.json says.
type addresses struct {
	GRPC  string `json:"grpc"`
	Admin string `json:"admin"`
}

func readAddresses(data string) (addresses, error) {
	var listening addresses
	name := filepath.Join(data, "addresses.json")
	file, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return listening, fmt.Errorf("no gateway serves from %s: start one with `make run` (or `domiciled --data %s`), or name another with --data or --address", data, data)
	}
	if err != nil {
		return listening, err
	}
	if err := json.Unmarshal(file, &listening); err != nil || listening.GRPC == "" {
		return listening, fmt.Errorf("%s does not say where a gateway listens: want {\"grpc\": \"HOST:PORT\", …}", name)
	}
	return listening, nil
}

// identity finds the files of the identity of that name, or of that
// certificate file.
func (a *app) identity(name string) (client.Identity, error) {
	if name == "" {
		return client.Identity{}, usagef("--identity is missing (or DOMICILE_IDENTITY): %s", a.identitiesText())
	}
	var id client.Identity
	if isIdentityFile(name) {
		id = identityBeside(name)
	} else {
		id = client.EmbeddedIdentity(a.flags.Data, name)
	}
	if a.flags.CA != "" {
		id.CA = a.flags.CA
	}
	if _, err := os.Stat(id.Certificate); errors.Is(err, fs.ErrNotExist) {
		return id, usagef("--identity: %s does not exist: %s", id.Certificate, a.identitiesText())
	}
	return id, nil
}

// isIdentityFile reports whether an identity is named by its certificate file.
func isIdentityFile(name string) bool {
	return strings.ContainsRune(name, filepath.Separator) || strings.HasSuffix(name, ".crt") || strings.HasSuffix(name, ".pem")
}

// identityBeside takes a certificate file, with its key and its authority beside it.
func identityBeside(certificate string) client.Identity {
	return client.Identity{
		Certificate: certificate,
		Key:         strings.TrimSuffix(certificate, filepath.Ext(certificate)) + ".key",
		CA:          filepath.Join(filepath.Dir(certificate), "ca.crt"),
	}
}

// identitiesText says which identities there are.
func (a *app) identitiesText() string {
	dir := filepath.Join(a.flags.Data, "identity")
	names := identities(dir)
	if len(names) == 0 {
		return fmt.Sprintf("%s holds none; a gateway makes them when it first starts there (`make run`)", dir)
	}
	return fmt.Sprintf("%s has %s", dir, strings.Join(names, ", "))
}

// identities lists the names that have both a certificate and a key in dir,
// but the gateway's own.
func identities(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".crt")
		if !ok || name == "ca" || name == "server" || name == "gateway" {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, name+".key")); err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
