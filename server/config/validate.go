package config

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
)

// Validate refuses everything that is unsafe, incomplete or not supported. It opens no
// file. Its error is a Problems with all there is to say, or nil.
func (c *Config) Validate() error {
	if problems := c.problems(); len(problems) > 0 {
		return problems
	}
	return nil
}

func (c *Config) problems() Problems {
	v := &validation{src: c.source}
	v.gateway(c.Gateway)
	v.tls(c.TLS)
	v.regions(c)
	v.peers(c)
	v.directory(c)
	v.mixed(c)
	v.callers(c.Callers)
	v.limits(c.Limits)
	v.folders(c)
	v.buckets(c)
	v.databases(c)
	return v.problems.sorted()
}

type validation struct {
	src      *source
	problems Problems
}

func (v *validation) bad(p path, format string, args ...any) {
	v.problems = append(v.problems, v.src.problem(p, fmt.Sprintf(format, args...)))
}

func (v *validation) required(p path, value string) bool {
	if value == "" {
		v.bad(p, "is required")
		return false
	}
	return true
}

func (v *validation) jurisdiction(p path, code string) residency.Jurisdiction {
	if !v.required(p, code) {
		return residency.Jurisdiction{}
	}
	j, err := residency.ParseJurisdiction(code)
	if err != nil {
		v.bad(p, "%v, for example CH", err)
	}
	return j
}

func (v *validation) name(p path, s string) {
	if !residency.ValidID(s) {
		v.bad(p, "want 1 to 64 of [A-Za-z0-9._-], the first a letter or digit")
	}
}

func (v *validation) gateway(g Gateway) {
	v.name(path{"gateway", "name"}, g.Name)
	v.jurisdiction(path{"gateway", "jurisdiction"}, g.Jurisdiction)
	v.address(path{"gateway", "listen"}, g.Listen)
	if v.address(path{"gateway", "admin_listen"}, g.AdminListen) && !Loopback(g.AdminListen) {
		v.bad(path{"gateway", "admin_listen"}, "has no authentication, so it must be a loopback address, for example 127.0.0.1:9464")
	}
}

func (v *validation) address(p path, s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		v.bad(p, "want host:port, for example 127.0.0.1:8443")
		return false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		v.bad(p, "want a port of 0 to 65535")
		return false
	}
	return true
}

// Loopback reports whether a host:port can be reached from this machine only. A
// name other than localhost counts as reachable from elsewhere.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (v *validation) tls(t TLS) {
	const always = "is required: every connection is TLS with certificates on both sides"
	for _, f := range []struct{ name, value string }{
		{"certificate", t.Certificate}, {"key", t.Key}, {"client_ca", t.ClientCA},
	} {
		if f.value == "" {
			v.bad(path{"tls", f.name}, always)
		}
	}
}

func (v *validation) regions(c *Config) {
	if len(c.Regions) == 0 {
		v.bad(path{"regions"}, "want at least one region")
	}
	for _, name := range sortedNames(c.Regions) {
		p := path{"regions", name}
		if _, err := residency.ParseRegion(name); err != nil {
			v.bad(p, "%v", err)
		}
		v.region(p, c.Regions[name])
	}
}

func sortedNames(regions map[string]Region) []string {
	names := make([]string, 0, len(regions))
	for name := range regions {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func (v *validation) region(p path, r Region) {
	j := v.jurisdiction(p.with("jurisdiction"), r.Jurisdiction)
	v.required(p.with("controller"), r.Controller)
	for i, f := range r.Policies {
		v.required(p.with("policies", i), f)
	}
	if r.Endpoint != "" {
		v.address(p.with("endpoint"), r.Endpoint)
	}
	if r.Peer != nil {
		v.elsewhere(p, r)
		return
	}
	if len(r.Policies) == 0 {
		v.bad(p.with("policies"), "want at least one policy file")
	}
	if !originPattern.MatchString(r.AuditOrigin) {
		v.bad(p.with("audit_origin"), "want a name such as audit.example.org/gateway: letters, digits, dots, hyphens and slashes, none at either end")
	}
	if r.AuditRetention != 0 && r.AuditRetention < gateway.MinAuditRetention {
		v.bad(p.with("audit_retention"), "want at least %dh, which is 365 days; without it entries are kept for good", int(gateway.MinAuditRetention.Hours()))
	}
	if v.witnesses(p.with("witnesses"), r.Witnesses); len(r.Witnesses) > maxWitnesses {
		v.bad(p.with("witnesses"), "want at most %d", maxWitnesses)
	}
	v.location(p.with("keys"), r.Keys, "file")
	v.keyStore(p.with("key_store"), r.KeyStore)
	if len(r.Clusters) == 0 {
		v.bad(p.with("clusters"), "want at least one storage cluster")
	}
	seen := map[string]bool{}
	for i, cl := range r.Clusters {
		v.cluster(p.with("clusters", i), cl, r, j)
		if seen[cl.Name] {
			v.bad(p.with("clusters", i, "name"), "is taken by another cluster of the region")
		}
		seen[cl.Name] = true
	}
}

func (v *validation) cluster(p path, cl Cluster, r Region, j residency.Jurisdiction) {
	v.name(p.with("name"), cl.Name)
	at := v.jurisdiction(p.with("location"), cl.Location)
	if !at.IsZero() && !j.IsZero() && at != j {
		v.bad(p.with("location"), "is outside the region's jurisdiction %v (clause drive-storage)", j)
	}
	if v.required(p.with("owner"), cl.Owner) && cl.Owner != r.Controller {
		v.bad(p.with("owner"), "must be the region's controller: drives are on its own servers (clause drive-storage)")
	}
	if cl.Operator != "" && cl.Operator != r.Controller {
		v.bad(p.with("operator"), "must be the region's controller: drives are on servers that it controls (clause drive-storage)")
	}
	v.weight(p.with("weight"), cl)
	v.tables(p.with("rows"), cl.Rows)
	v.blobs(p.with("blobs"), cl.Blobs)
}

func (v *validation) weight(p path, cl Cluster) {
	switch w := cl.Share(); {
	case w == 0 && !cl.Closed:
		v.bad(p, "want 1 to 1000; for a cluster that takes no new tenants say closed: true")
	case w < 0 || w > 1000:
		v.bad(p, "want 1 to 1000")
	}
}

var originPattern = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9./-]{0,126}[A-Za-z0-9])?)?$`)

// location checks "scheme:path" against the one scheme that is supported there.
func (v *validation) location(p path, s, want string) {
	if !v.required(p, s) {
		return
	}
	scheme, folder := Location(s)
	switch {
	case scheme == want && strings.HasPrefix(folder, "//"):
		v.bad(p, "want %s: and a path, without //", want)
	case scheme == want && folder != "":
	case scheme == "postgres" || scheme == "postgresql" || scheme == "s3":
		v.bad(p, "%s is not supported by this version: want %s: and a folder", scheme, want)
	default:
		v.bad(p, "want %s: and a path", want)
	}
}

func (v *validation) directory(c *Config) {
	v.tables(path{"directory"}, c.Directory)
	v.location(path{"directory_key"}, c.DirectoryKey, "file")
}

// mixed refuses a gateway that other machines can reach and in which plaintext of
// several jurisdictions would exist, unless that is said in so many words.
func (v *validation) mixed(c *Config) {
	if c.Gateway.MixedJurisdictions || Loopback(c.Gateway.Listen) || !c.Mixed() {
		return
	}
	v.bad(path{"gateway", "listen"}, "plaintext of %s would exist in one process that other machines can reach: "+
		"serve one jurisdiction per gateway, or state mixed_jurisdictions: true", strings.Join(c.Jurisdictions(), " and "))
}

// Jurisdictions lists, in order, where plaintext can exist in this process: its own jurisdiction
// and those of the regions that it serves.
func (c *Config) Jurisdictions() []string {
	out := []string{c.Gateway.Jurisdiction}
	for _, r := range c.Regions {
		if r.Peer == nil {
			out = append(out, r.Jurisdiction)
		}
	}
	sort.Strings(out)
	return slices.Compact(out)
}

// Mixed reports whether plaintext of more than one jurisdiction can exist in
// this process.
func (c *Config) Mixed() bool { return len(c.Jurisdictions()) > 1 }

func (v *validation) callers(callers []Caller) {
	if len(callers) == 0 {
		v.bad(path{"callers"}, "want at least one caller: nobody else may call")
	}
	seen := map[string]bool{}
	for i, c := range callers {
		p := path{"callers", i}
		v.caller(p, c)
		if seen[c.ID] {
			v.bad(p.with("id"), "is listed twice")
		}
		seen[c.ID] = true
	}
}

func (v *validation) caller(p path, c Caller) {
	if !isIdentity(c.ID) {
		v.bad(p.with("id"), `want an absolute URI, for example "spiffe://example.org/ch/billing"`)
	}
	v.jurisdiction(p.with("jurisdiction"), c.Jurisdiction)
	for i, name := range c.Permissions {
		if _, err := ParsePermission(name); err != nil {
			v.bad(p.with("permissions", i), "%v", err)
		}
	}
	for i, t := range c.Tenants {
		if t != "*" && !residency.ValidID(t) {
			v.bad(p.with("tenants", i), `want "*" or a tenant's identifier`)
		}
	}
	if _, err := parseParty(c.Party); err != nil {
		v.bad(p.with("party"), "%v", err)
	}
}

func isIdentity(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && u.Host != "" && u.String() == s && len(s) <= 512
}

func (v *validation) limits(l Limits) {
	for _, b := range l.bounds() {
		if field, problem := b.check(); problem != "" {
			v.bad(path{"limits", field}, "%s", problem)
		}
	}
	if l.Deadline > l.MaxDeadline {
		v.bad(path{"limits", "deadline"}, "want at most max_deadline, %v", l.MaxDeadline)
	}
}

// place is a folder or file that the configuration names.
type place struct {
	at   path
	path string
	keys bool
}

// folders refuses places that are inside one another: a backup of rows or blobs
// must never carry keys, and two stores must never share a folder.
func (v *validation) folders(c *Config) {
	places := c.places()
	for i, a := range places {
		for _, b := range places[i+1:] {
			if !within(a.path, b.path) && !within(b.path, a.path) {
				continue
			}
			if a.keys != b.keys {
				v.bad(b.at, "must lie apart from %v: keys and what they seal are never in one folder", a.at)
			} else {
				v.bad(b.at, "must lie apart from %v", a.at)
			}
		}
	}
}

func (c *Config) places() []place {
	var out []place
	add := func(keys bool, location string, at path) {
		if _, folder := Location(location); filepath.IsAbs(folder) && !strings.HasPrefix(folder, "//") {
			out = append(out, place{at: at, path: realPath(folder), keys: keys})
		}
	}
	for _, name := range sortedNames(c.Regions) {
		r := c.Regions[name]
		p := path{"regions", name}
		for i, cl := range r.Clusters {
			add(false, cl.Rows, p.with("clusters", i, "rows"))
			add(false, cl.Blobs, p.with("clusters", i, "blobs"))
		}
		add(true, r.Keys, p.with("keys"))
	}
	add(false, c.Directory, path{"directory"})
	add(true, c.DirectoryKey, path{"directory_key"})
	return out
}

// realPath follows links as far as the path exists.
func realPath(p string) string {
	rest := ""
	for dir := filepath.Clean(p); ; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if dir == filepath.Dir(dir) {
			return filepath.Clean(p)
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}

// within reports whether p is folder or lies in it.
func within(p, folder string) bool {
	return p == folder || strings.HasPrefix(p, strings.TrimSuffix(folder, string(os.PathSeparator))+string(os.PathSeparator))
}
