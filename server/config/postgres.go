package config

import (
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"strings"
)

// IsPostgres reports whether a location is a PostgreSQL database's.
func IsPostgres(location string) bool {
	scheme, _, _ := strings.Cut(location, ":")
	return scheme == "postgres" || scheme == "postgresql"
}

// database is what a location says of where its tables are.
type database struct {
	server string // hosts and name
	schema string
}

// defaultSchema is residency/store/postgres's.
const defaultSchema = "domicile"

// parsePostgres checks a location for what must not be in it. Its errors quote
// nothing of it. Which settings there are is PostgreSQL's own to say, when it is opened.
func parsePostgres(location string) (database, error) {
	_, rest, ok := strings.Cut(location, "://")
	authority, path, inside := strings.Cut(rest, "/")
	name, query, _ := strings.Cut(path, "?")
	if !ok || !inside || name == "" || strings.ContainsAny(authority, "?#") || strings.ContainsAny(name, "/#") {
		return database{}, errors.New("want postgres://USER@HOST[:PORT][,HOST[:PORT]]/DATABASE")
	}
	hosts := authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if strings.Contains(authority[:at], ":") {
			return database{}, errNoPassword
		}
		hosts = authority[at+1:]
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return database{}, errors.New("the settings after the question mark cannot be read")
	}
	if err := checkPostgres(hosts, values); err != nil {
		return database{}, err
	}
	d := database{server: hosts + "/" + name, schema: defaultSchema}
	if s := values.Get("schema"); s != "" {
		d.schema = s
	}
	return d, nil
}

var errNoPassword = errors.New("a password does not belong here: name a file with passfile=FILE, set PGPASSWORD, or use a client certificate")

func checkPostgres(hosts string, values url.Values) error {
	for _, secret := range []string{"password", "sslpassword"} {
		if values.Has(secret) {
			return errNoPassword
		}
	}
	for _, elsewhere := range []string{"host", "hostaddr", "port", "dbname", "database", "user", "service", "servicefile"} {
		if values.Has(elsewhere) {
			return errors.New("user, hosts and database stand before the question mark")
		}
	}
	for _, file := range []string{"passfile", "sslrootcert", "sslcert", "sslkey"} {
		if f := values.Get(file); f != "" && f != "system" && !filepath.IsAbs(f) {
			return errors.New("want absolute paths for passfile, sslrootcert, sslcert and sslkey")
		}
	}
	local := true
	for host := range strings.SplitSeq(hosts, ",") {
		if host == "" {
			return errors.New("want a host, or several with commas in between")
		}
		if _, _, err := net.SplitHostPort(host); err != nil {
			host += ":5432"
		}
		local = local && Loopback(host)
	}
	if values.Get("sslmode") != "verify-full" && !local {
		return errors.New("want sslmode=verify-full: off this machine the server must prove who it is, and rows travel encrypted")
	}
	return nil
}

// tables checks where tables are: a folder of the embedded engine, or a database.
func (v *validation) tables(p path, location string) {
	if !IsPostgres(location) {
		v.location(p, location, "pebble")
		return
	}
	if _, err := parsePostgres(location); err != nil {
		v.bad(p, "%v", err)
	}
}

// keyStore checks where a region's wrapped keys are, if not in the folder of its roots.
func (v *validation) keyStore(p path, location string) {
	if location == "" {
		return
	}
	if !IsPostgres(location) {
		v.bad(p, "want postgres://USER@HOST/DATABASE, or nothing: wrapped keys are then in the folder of keys")
		return
	}
	v.tables(p, location)
}

// databases refuses stores that share a schema, and keys in a database that also
// holds what they seal: one backup would have both.
func (v *validation) databases(c *Config) {
	type used struct {
		at   path
		keys bool
		database
	}
	var all []used
	add := func(location string, keys bool, at path) {
		if !IsPostgres(location) {
			return
		}
		d, err := parsePostgres(location)
		if err != nil {
			return
		}
		for _, other := range all {
			switch {
			case d == other.database:
				v.bad(at, "must have a schema apart from %v", other.at)
			case keys != other.keys && d.server == other.server:
				v.bad(at, "must have a database apart from %v: keys and what they seal are never in one backup", other.at)
			}
		}
		all = append(all, used{at, keys, d})
	}
	for _, name := range sortedNames(c.Regions) {
		p := path{"regions", name}
		for i, cl := range c.Regions[name].Clusters {
			add(cl.Rows, false, p.with("clusters", i, "rows"))
		}
	}
	add(c.Directory, false, path{"directory"})
	for _, name := range sortedNames(c.Regions) {
		add(c.Regions[name].KeyStore, true, path{"regions", name}.with("key_store"))
	}
}
