// Command grafana knows what the dashboards show: each panel's questions, its unit, and what is good, what is bad and what
// to do. It writes them as the JSON that Grafana reads, beside its source.
package main

import (
	"fmt"
	"os"
)

//go:generate go run .

// dashboards are all, by the files that hold them.
var dashboards = map[string]dashboard{
	"border.json":        border,
	"service.json":       service,
	"storage-audit.json": storage,
}

func main() {
	for file, d := range dashboards {
		text, err := d.json()
		if err == nil {
			err = os.WriteFile(file, text, 0o644) //nolint:gosec // Grafana reads it as another user
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
