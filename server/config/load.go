package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
)

// maxFile is the longest configuration file, in bytes.
const maxFile = 4 << 20

// Load reads a configuration file and the environment (as os.Environ gives it),
// and fills in the defaults; Validate says whether the whole is safe. Relative
// paths start at the file's folder. Its error is a Problems with everything that is wrong,
// what Validate finds in the rest included, or one of the file system.
func Load(name string, environ []string) (*Config, error) {
	text, err := read(name)
	if err != nil {
		return nil, err
	}
	folder, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	c, problems := parse(text, name, folder)
	if c == nil {
		return nil, problems
	}
	problems = append(problems, c.environment(environ)...)
	c.Limits = c.Limits.WithDefaults()
	c.resolve(folder)
	if len(problems) == 0 {
		return c, nil
	}
	return nil, c.withValidation(problems)
}

// withValidation adds what Validate finds to problems that were found before, but for
// settings that those are about.
func (c *Config) withValidation(problems Problems) Problems {
	told := map[string]bool{}
	for _, p := range problems {
		told[p.Path] = true
	}
	for _, p := range c.problems() {
		if !told[p.Path] {
			problems = append(problems, p)
		}
	}
	return problems.sorted()
}

func read(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("config: %s: want a regular file of at most %d bytes", name, maxFile)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return utf8Text(text, name)
}

// utf8Text gives a file's text without the byte order mark that some editors
// put before it.
func utf8Text(text []byte, name string) ([]byte, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil, Problems{{File: name, Line: 1, Column: 1, Text: "want UTF-8: save the file in that encoding, not as UTF-16 or another"}}
	}
	return text, nil
}

// parse reads the file strictly: an unknown or repeated key is a problem. The
// configuration is what could be read apart from the problems; nil when nothing could.
func parse(text []byte, name, folder string) (*Config, Problems) {
	c := &Config{source: &source{name: name, folder: folder}}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, Problems{c.source.decodeProblem(err)}
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, Problems{{File: name, Text: "want one YAML document that is not empty"}}
	}
	c.source.root = file.Docs[0].Body
	f := &form{src: c.source}
	if !f.fits(nil, c.source.root, reflect.TypeFor[Config]()) {
		return nil, f.problems
	}
	if err := yaml.NodeToValue(c.source.root, c, yaml.Strict()); err != nil {
		return nil, append(f.problems, c.source.decodeProblem(err)).sorted()
	}
	return c, f.problems
}

func tagOf(f reflect.StructField) string {
	tag, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return tag
}

// setScalar reads a setting's text into it.
func setScalar(v reflect.Value, text string) error {
	switch dst := v.Addr().Interface().(type) {
	case *string:
		*dst = text
	case *Bytes:
		return dst.UnmarshalText([]byte(text))
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return errors.New(`want a duration with its unit, for example "10s" or "1h30m"`)
		}
		*dst = d
	case *bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("want true or false")
		}
		*dst = b
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return errors.New("want a whole number")
		}
		*dst = n
	default:
		return errors.New("cannot be set by the environment")
	}
	return nil
}

const envPrefix = "DOMICILE_"

// scalars gives every setting that the environment can set, by its variable.
func (c *Config) scalars() map[string]reflect.Value {
	out := map[string]reflect.Value{}
	root := reflect.ValueOf(c).Elem()
	for i := range root.NumField() {
		f := root.Type().Field(i)
		name := envPrefix + strings.ToUpper(tagOf(f))
		switch {
		case !f.IsExported():
		case f.Type.Kind() == reflect.String:
			out[name] = root.Field(i)
		case f.Type.Kind() == reflect.Struct:
			section := root.Field(i)
			for j := range section.NumField() {
				out[name+"_"+strings.ToUpper(tagOf(section.Type().Field(j)))] = section.Field(j)
			}
		}
	}
	return out
}

// ApplyEnvironment applies the variables (as os.Environ gives them). One that looks
// like a setting and is none is a problem, so that a misspelled one is never skipped silently.
func (c *Config) ApplyEnvironment(environ []string) error {
	if problems := c.environment(environ); len(problems) > 0 {
		return problems
	}
	return nil
}

func (c *Config) environment(environ []string) Problems {
	known := c.scalars()
	var problems Problems
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		field, ok := known[name]
		switch {
		case ok:
			if err := setScalar(field, value); err != nil {
				problems = append(problems, Problem{Path: name, Text: err.Error()})
			}
		case looksLikeSetting(name):
			problems = append(problems, Problem{Path: name, Text: "no such setting"})
		}
	}
	return problems
}

func looksLikeSetting(name string) bool {
	for _, section := range []string{"GATEWAY_", "TLS_", "LIMITS_", "REGIONS_", "CALLERS_", "DIRECTORY_"} {
		if strings.HasPrefix(name, envPrefix+section) {
			return true
		}
	}
	return false
}

// resolve makes relative paths absolute.
func (c *Config) resolve(folder string) {
	for _, p := range []*string{&c.TLS.Certificate, &c.TLS.Key, &c.TLS.ClientCA} {
		*p = absolute(folder, *p)
	}
	for _, p := range []*string{&c.Directory, &c.DirectoryKey} {
		*p = absoluteLocation(folder, *p)
	}
	for name, r := range c.Regions {
		r.Keys = absoluteLocation(folder, r.Keys)
		for i := range r.Clusters {
			r.Clusters[i].Rows = absoluteLocation(folder, r.Clusters[i].Rows)
			r.Clusters[i].Blobs = absoluteLocation(folder, r.Clusters[i].Blobs)
		}
		c.Regions[name] = r
	}
}

func absolute(folder, p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(folder, p)
}

func absoluteLocation(folder, location string) string {
	scheme, rest, ok := strings.Cut(location, ":")
	if !ok || rest == "" || strings.HasPrefix(rest, "//") {
		return location
	}
	return scheme + ":" + absolute(folder, rest)
}

// Location gives the path of a location with one of the schemes "pebble" and
// "file", for example "pebble:/var/lib/domicile/ch/rows".
func Location(location string) (scheme, folder string) {
	scheme, folder, _ = strings.Cut(location, ":")
	return scheme, folder
}

// Print gives the effective configuration as YAML. It holds no secret: keys and certificates
// are named by their files, and what a location has before an @ is left out.
func (c *Config) Print() ([]byte, error) {
	shown := *c
	shown.Regions = make(map[string]Region, len(c.Regions))
	for name, r := range c.Regions {
		r.Clusters = append([]Cluster(nil), r.Clusters...)
		for i := range r.Clusters {
			r.Clusters[i].Rows = withoutUser(r.Clusters[i].Rows)
			r.Clusters[i].Blobs = withoutUser(r.Clusters[i].Blobs)
		}
		r.Keys = withoutUser(r.Keys)
		r.KeyStore = withoutUser(r.KeyStore)
		shown.Regions[name] = r
	}
	shown.Directory = withoutUser(c.Directory)
	out, err := yaml.Marshal(shown)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return out, nil
}

func withoutUser(location string) string {
	scheme, rest, ok := strings.Cut(location, "://")
	if !ok {
		return location
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = "…@" + rest[i+1:]
	}
	return scheme + "://" + rest
}
