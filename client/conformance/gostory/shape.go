package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// differs says where a value has not a shape, "" when it has. It names paths and never what stands there, which may be
// personal.
func differs(path string, got, shape any) string {
	switch want := shape.(type) {
	case nil:
		return when(got != nil, path, "is there")
	case map[string]any:
		return differsObject(path, got, want)
	case []any:
		return differsList(path, got, want)
	case string:
		if want == "*" {
			return when(empty(got), path, "is empty or absent")
		}
	}
	if a, ok := number(got); ok {
		b, ok := number(shape)
		return when(!ok || a != b, path, "is another number")
	}
	return when(got != shape, path, "is something else")
}

func when(different bool, path, how string) string {
	if !different {
		return ""
	}
	return path + " " + how
}

func differsObject(path string, got any, want map[string]any) string {
	have, ok := got.(map[string]any)
	if !ok {
		return path + " is no object"
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if how := differs(path+"."+name, have[name], want[name]); how != "" {
			return how
		}
	}
	return ""
}

func differsList(path string, got any, want []any) string {
	have, ok := got.([]any)
	if !ok || len(have) != len(want) {
		return fmt.Sprintf("%s is no list of %d", path, len(want))
	}
	for i := range want {
		if how := differs(fmt.Sprintf("%s[%d]", path, i), have[i], want[i]); how != "" {
			return how
		}
	}
	return ""
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// number reads a number, or text of digits, as protobuf's JSON mapping has those of 64 bits.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return float64(n), err == nil
	}
	return 0, false
}

// plain makes a value of what JSON has.
func plain(v any) (out any, err error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return out, json.Unmarshal(raw, &out)
}
