package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// What is no command line to forget a log with touches nothing.
func TestForgetLogUsage(t *testing.T) {
	data := t.TempDir()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"an origin elsewhere":   {[]string{"fsck", "example.org/ch/ch-1"}, "unexpected argument example.org/ch/ch-1"},
		"a region not served":   {[]string{"forget-log", "example.org/ch/ch-1", "--region", "jp"}, "--region must be one that is served here: ch, us"},
		"two origins":           {[]string{"forget-log", "example.org/ch/ch-1", "example.org/ch/ch-2"}, "unexpected argument example.org/ch/ch-2"},
		"a folder of no stores": {[]string{"forget-log", "example.org/ch/ch-1"}, "is no gateway's data folder"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := run(t.Context(), append(c.args, "--data", data), &out, &out)
			if err == nil || !strings.Contains(err.Error(), c.want) || out.Len() > 0 {
				t.Errorf("%v\n%s", err, out.String())
			}
			var usage *usageError
			if name != "a folder of no stores" && !errors.As(err, &usage) {
				t.Errorf("%v is no error of usage", err)
			}
		})
	}
}
