package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// story is the file, with the names that its strings stand for.
type story struct {
	Version   int                   `json:"version"`
	Variables []string              `json:"variables"`
	Clients   map[string]clientSpec `json:"clients"`
	Steps     []step                `json:"steps"`

	known map[string]any
}

// clientSpec says how a client is made.
type clientSpec struct {
	Address     string `json:"address"`
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	CA          string `json:"ca"`
	ServerName  string `json:"serverName"`
	MaxAttempts int    `json:"maxAttempts"`
}

// step is one thing that is done, and what it must come to. It has one action.
type step struct {
	Name   string `json:"name"`
	As     string `json:"as"`
	Always bool   `json:"always"`
	Needs  string `json:"needs"`

	Call     *callAction     `json:"call"`
	List     *callAction     `json:"list"`
	Upload   *uploadAction   `json:"upload"`
	Download *downloadAction `json:"download"`
	Verify   *verifyAction   `json:"verify"`
	Control  map[string]any  `json:"control"`
	Again    *againAction    `json:"again"`

	Expect   *expectation      `json:"expect"`
	Decision any               `json:"decision"`
	Endpoint json.RawMessage   `json:"endpoint"` // null says something
	Keep     map[string]string `json:"keep"`
}

type callAction struct {
	Method    string         `json:"method"`
	Request   map[string]any `json:"request"`
	TimeoutMS int            `json:"timeoutMs"`
}

type uploadAction struct {
	Header map[string]any `json:"header"`
	Bytes  int64          `json:"bytes"`
	Seed   string         `json:"seed"`
}

type downloadAction struct {
	Request map[string]any `json:"request"`
	Compare *struct {
		Seed  string `json:"seed"`
		Bytes int64  `json:"bytes"`
	} `json:"compare"`
	PauseAfter int64  `json:"pauseAfter"`
	Meanwhile  []step `json:"meanwhile"`
}

type verifyAction struct {
	Receipt string `json:"receipt"`
	Key     string `json:"key"`
	FlipBit *int   `json:"flipBit"`
}

type againAction struct {
	WithinMS int    `json:"withinMs"`
	Steps    []step `json:"steps"`
}

// expectation is what an action must come to: one of three.
type expectation struct {
	OK     any `json:"ok"`
	Denied any `json:"denied"`
	Error  any `json:"error"`
}

// readStory reads the file, strictly, and the variables that it wants.
func readStory(file string, vars []string) (*story, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s := &story{known: make(map[string]any)}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if s.Version != 1 {
		return nil, fmt.Errorf("%s: version %d, this program tells version 1", file, s.Version)
	}
	for _, v := range vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return nil, fmt.Errorf("--var %s: want NAME=VALUE", name)
		}
		s.known[name] = value
	}
	var missing []string
	for _, name := range s.Variables {
		if _, ok := s.known[name]; !ok {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("the story wants --var of %s", strings.Join(missing, ", "))
	}
	return s, nil
}

var nameIn = regexp.MustCompile(`\$\{([A-Za-z][A-Za-z0-9]*)\}`)

// fill puts what names stand for into every string of a value.
func (s *story) fill(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return s.fillText(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = s.fill(v[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, member := range v {
			filled, err := s.fill(member)
			if err != nil {
				return nil, err
			}
			out[key] = filled
		}
		return out, nil
	}
	return v, nil
}

// fillText gives the value itself of a string that is nothing but a name.
func (s *story) fillText(text string) (any, error) {
	var unknown []string
	look := func(name string) any {
		v, ok := s.known[name]
		if !ok {
			unknown = append(unknown, name)
		}
		return v
	}
	var out any
	if m := nameIn.FindStringSubmatch(text); len(m) == 2 && m[0] == text {
		out = look(m[1])
	} else {
		out = nameIn.ReplaceAllStringFunc(text, func(use string) string { return fmt.Sprint(look(use[2 : len(use)-1])) })
	}
	if unknown != nil {
		return nil, fmt.Errorf("nothing is known by the name of %s", strings.Join(unknown, ", "))
	}
	return out, nil
}

// text fills a string that must stay one.
func (s *story) text(text string) (string, error) {
	v, err := s.fillText(text)
	if err != nil {
		return "", err
	}
	out, ok := v.(string)
	if !ok {
		return "", errors.New("a name stands for something else than text")
	}
	return out, nil
}
