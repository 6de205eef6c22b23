package deploy

import (
	"path/filepath"
)

// checkPrometheus has Prometheus read its configurations.
func checkPrometheus(root string) error {
	dir := filepath.Join(root, "prometheus")
	if _, err := execute(dir, nil, "promtool", "check", "config", "--agent", "agent.yml"); err != nil {
		return err
	}
	_, err := execute(dir, nil, "promtool", "check", "config", "prometheus.yml")
	return err
}
