package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// exposure is the most that systemd may find a unit exposed, in tenths of its scale of 0 to 10.
const exposure = "15"

// checkUnits has systemd read the units, and holds them against the configuration beside them.
// Nothing is started: whether the sandbox lets the gateway work is for a machine with systemd to show.
func checkUnits(root string) error {
	c, err := accepted(filepath.Join(root, "systemd", "domicile.yaml"))
	if err != nil {
		return err
	}
	w := &wants{}
	settings := map[string][]string{}
	for _, unit := range []string{"domiciled.service", "domiciled-migrate.service"} {
		file := filepath.Join(root, "systemd", unit)
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := verifyUnit(file, string(text)); err != nil {
			return fmt.Errorf("%s: %w", unit, err)
		}
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
				settings[unit+" "+key] = append(settings[unit+" "+key], value)
			}
		}
	}
	for _, credential := range []string{"directory.key", "s3"} {
		const folder = "/run/credentials/domiciled.service/"
		text, err := os.ReadFile(filepath.Join(root, "systemd", "domicile.yaml"))
		w.that(err == nil && strings.Contains(string(text), folder+credential), "domicile.yaml: does not use the credential %s", credential)
		w.that(strings.Contains(strings.Join(settings["domiciled.service LoadCredential"], "\n"), credential+":/"), "domiciled.service: gives no credential %s", credential)
	}
	stop, err := time.ParseDuration(strings.Join(settings["domiciled.service TimeoutStopSec"], " ") + "s")
	w.that(err == nil && stop > c.Limits.Drain+10*time.Second, "domiciled.service: stops after %v, and calls are given %v", stop, c.Limits.Drain)
	return w.err()
}

// verifyUnit has systemd read a unit whose program is one that is there. A warning counts: what systemd
// does not know it leaves out.
func verifyUnit(file, text string) error {
	if !strings.Contains(text, "ExecStart=/usr/bin/domiciled ") {
		return fmt.Errorf("starts something else than /usr/bin/domiciled")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "/usr/bin/domiciled", self)), 0o600); err != nil {
		return err
	}
	said, err := execute(filepath.Dir(file), nil, "bash", "-c", `exec 2>&1; systemd-analyze verify --man=no "$1"`, "bash", file)
	if err == nil && len(said) > 0 {
		err = fmt.Errorf("systemd says: %s", said)
	}
	if err != nil {
		return err
	}
	_, err = execute(filepath.Dir(file), nil, "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold="+exposure, file)
	return err
}
