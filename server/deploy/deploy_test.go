// Package deploy knows how gateways are put into operation: the image, the
// containers, the chart and the units, as files. Its tests hold them against the tools that
// will read them and against the configuration that the gateway accepts; no
// container, cluster or init system is started.
package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/domicile-project/domicile/server/config"
)

// check is what must hold for a folder of this package, or a copy of it.
type check struct {
	name  string
	tools []string // programs that it needs
	run   func(root string) error
}

var checks = []check{
	{"image", nil, checkImage},
	{"compose", []string{"docker-compose", "openssl"}, checkCompose},
	{"prometheus", []string{"promtool"}, checkPrometheus},
	{"chart", []string{"helm", "manifests"}, checkChart},
	{"units", []string{"systemd-analyze"}, checkUnits},
}

func TestDeployment(t *testing.T) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			need(t, c.tools)
			if err := c.run(copied(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// need skips a test whose programs are missing, unless $DOMICILE_TOOLS says that all must be there.
func need(t *testing.T, programs []string) {
	t.Helper()
	for _, name := range programs {
		if _, err := program(name); err != nil {
			if os.Getenv("DOMICILE_TOOLS") != "" {
				t.Fatal(err)
			}
			t.Skipf("%v: `make test` installs it", err)
		}
	}
}

// program finds a tool of this project's or of the system's.
func program(name string) (string, error) {
	dir := os.Getenv("DOMICILE_TOOLS")
	if dir == "" {
		dir = filepath.Join("..", "..", ".tools", "bin")
	}
	if own, err := filepath.Abs(filepath.Join(dir, name)); err == nil {
		if _, err := os.Stat(own); err == nil {
			return own, nil
		}
	}
	return exec.LookPath(name)
}

// execute runs a tool in a folder and gives what it writes; an error holds everything that it said.
func execute(dir string, input []byte, name string, args ...string) ([]byte, error) {
	path, err := program(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...) //nolint:noctx // the tools end by themselves
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

// copied copies this folder's files, so that what the tools make does not land in the source.
func copied(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"compose", "prometheus", "helm", "systemd"} {
		if err := os.CopyFS(filepath.Join(root, dir), os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
	for _, made := range []string{"compose/secrets", "compose/.env"} {
		if err := os.RemoveAll(filepath.Join(root, made)); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"Dockerfile", "Dockerfile.dockerignore"} {
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(root, file), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// accepted reads a configuration as the gateway does before it opens anything.
func accepted(file string, environ ...string) (*config.Config, error) {
	c, err := config.Load(file, environ)
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return nil, err
	}
	var errs []error
	for name := range c.Regions {
		_, err := c.LoadPolicies(name)
		errs = append(errs, err)
	}
	return c, errors.Join(errs...)
}

// object is a mapping of a YAML document whose form is somebody else's.
type object map[string]any

// at gives what is at a path of keys, nil where there is nothing.
func (o object) at(path ...string) any {
	var v any = map[string]any(o)
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

func (o object) object(path ...string) object {
	m, _ := o.at(path...).(map[string]any)
	return m
}

func (o object) text(path ...string) string {
	v := o.at(path...)
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func (o object) objects(path ...string) []object {
	list, _ := o.at(path...).([]any)
	var out []object
	for _, v := range list {
		if m, ok := v.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func (o object) texts(path ...string) []string {
	list, _ := o.at(path...).([]any)
	var out []string
	for _, v := range list {
		out = append(out, fmt.Sprint(v))
	}
	return out
}

func documents(text []byte) ([]object, error) {
	var out []object
	for part := range strings.SplitSeq("\n"+string(text), "\n---") {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(part), &o); err != nil {
			return nil, err
		}
		if len(o) > 0 {
			out = append(out, o)
		}
	}
	return out, nil
}

// wants collects what does not hold.
type wants struct{ errs []error }

func (w *wants) that(holds bool, format string, args ...any) {
	if !holds {
		w.errs = append(w.errs, fmt.Errorf(format, args...))
	}
}

func (w *wants) err() error { return errors.Join(w.errs...) }
