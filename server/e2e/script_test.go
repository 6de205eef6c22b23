package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The scripts under testdata/script run the real command line against a real
// gateway. $ID is different in every run, so that tenants can be named after
// it; $WORK is an empty folder with the script's files.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	d := gateway(t)
	for _, name := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s := newScript(t, filepath.Base(name), d)
			s.run(string(text))
		})
	}
}

func randomID() string {
	var b [4]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// script runs lines in a small part of testscript's language: exec, exits CODE,
// stdout, stderr, stdin, cmp, cp, exists, env, capture, and ! before a check
// that must fail. Words in single quotes are taken as they are; $NAME is a variable.
type script struct {
	t      *testing.T
	name   string
	work   string
	vars   map[string]string
	stdin  []byte
	stdout []byte
	stderr []byte
	code   int
}

func newScript(t *testing.T, name string, d *daemon) *script {
	work := t.TempDir()
	return &script{t: t, name: name, work: work, vars: map[string]string{
		"DOMICILE_DATA": d.data, "ADDRESS": d.grpc, "ADMIN": d.admin, "ID": randomID(), "WORK": work,
	}}
}

// run writes the files that follow the script and runs its lines.
func (s *script) run(text string) {
	lines := s.unpack(text)
	for i, line := range lines {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := s.line(line); err != nil {
			s.t.Fatalf("%s:%d: %s\n%v\nexit code %d\n[stdout]\n%s[stderr]\n%s", s.name, i+1, line, err, s.code, s.stdout, s.stderr)
		}
	}
}

var fileMarker = regexp.MustCompile(`^-- (\S+) --$`)

func (s *script) unpack(text string) (lines []string) {
	var name string
	var file strings.Builder
	flush := func() {
		if name == "" {
			return
		}
		if err := os.WriteFile(filepath.Join(s.work, name), []byte(file.String()), 0o600); err != nil {
			s.t.Fatal(err)
		}
		file.Reset()
	}
	for line := range strings.Lines(text) {
		if m := fileMarker.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			flush()
			name = m[1]
		} else if name != "" {
			file.WriteString(line)
		} else {
			lines = append(lines, line)
		}
	}
	flush()
	return lines
}

func (s *script) line(line string) error {
	line, negated := strings.CutPrefix(line, "! ")
	pattern := strings.HasPrefix(line, "stdout ") || strings.HasPrefix(line, "stderr ") || strings.HasPrefix(line, "capture ")
	words := s.words(line, pattern)
	err := s.command(words[0], words[1:])
	if !negated {
		return err
	}
	if err == nil {
		return errors.New("this must not hold")
	}
	return nil
}

var variable = regexp.MustCompile(`\$[A-Z_]+`)

// words splits a line; in a pattern, what a variable holds matches itself.
func (s *script) words(line string, pattern bool) []string {
	var words []string
	var word strings.Builder
	started := false
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			word.WriteString(part)
			started = true
			continue
		}
		part = variable.ReplaceAllStringFunc(part, func(name string) string {
			value := s.vars[name[1:]]
			if pattern {
				value = regexp.QuoteMeta(value)
			}
			return value
		})
		for j, piece := range strings.Split(part, " ") {
			if j > 0 && (started || word.Len() > 0) {
				words = append(words, word.String())
				word.Reset()
				started = false
			}
			word.WriteString(piece)
		}
	}
	return append(words, word.String())
}

func (s *script) command(name string, args []string) error {
	switch {
	case name == "exec" && len(args) > 0:
		return s.exits(0, args)
	case name == "exits" && len(args) > 1:
		code, err := strconv.Atoi(args[0])
		return errors.Join(err, s.exits(code, args[1:]))
	case name == "stdout" && len(args) == 1:
		return matches(args[0], s.stdout)
	case name == "stderr" && len(args) == 1:
		return matches(args[0], s.stderr)
	case name == "stdin" && len(args) == 1:
		text, err := os.ReadFile(s.path(args[0]))
		s.stdin = text
		return err
	case name == "cmp" && len(args) == 2:
		return s.compare(args[0], args[1])
	case name == "exists" && len(args) == 1:
		_, err := os.Stat(s.path(args[0]))
		return err
	case name == "env" && len(args) == 1:
		key, value, _ := strings.Cut(args[0], "=")
		s.vars[key] = value
		return nil
	case name == "capture" && len(args) == 2:
		return s.capture(args[0], args[1])
	}
	return fmt.Errorf("no such command, or not with %d arguments", len(args))
}

// exits runs a program that must end with the exit code.
func (s *script) exits(code int, args []string) error {
	cmd := exec.Command(args[0], args[1:]...)
	if args[0] == "domicile" {
		cmd = exec.Command(filepath.Join(bin, "domicile"), args[1:]...)
	}
	cmd.Dir = s.work
	cmd.Env = []string{"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + s.work}
	for key, value := range s.vars {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(s.stdin), &out, &errs
	err := cmd.Run()
	s.stdin, s.stdout, s.stderr = nil, out.Bytes(), errs.Bytes()
	if s.code = cmd.ProcessState.ExitCode(); s.code != code {
		return fmt.Errorf("want exit code %d: %w", code, err)
	}
	return nil
}

func matches(pattern string, text []byte) error {
	re, err := regexp.Compile("(?m)" + pattern)
	if err == nil && !re.Match(text) {
		err = fmt.Errorf("no match for %s", pattern)
	}
	return err
}

// read gives a file's content, or the last program's output under its name.
func (s *script) read(name string) ([]byte, error) {
	switch name {
	case "stdout":
		return s.stdout, nil
	case "stderr":
		return s.stderr, nil
	}
	return os.ReadFile(s.path(name))
}

func (s *script) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.work, name)
}

func (s *script) compare(a, b string) error {
	x, errX := s.read(a)
	y, errY := s.read(b)
	if err := errors.Join(errX, errY); err != nil {
		return err
	}
	if !bytes.Equal(x, y) {
		return fmt.Errorf("%s and %s differ", a, b)
	}
	return nil
}

// capture sets a variable to what the pattern's group finds in the last
// program's standard output.
func (s *script) capture(name, pattern string) error {
	re, err := regexp.Compile("(?m)" + pattern)
	if err != nil {
		return err
	}
	found := re.FindSubmatch(s.stdout)
	if len(found) != 2 {
		return fmt.Errorf("nothing to capture with %s", pattern)
	}
	s.vars[name] = string(found[1])
	return nil
}
