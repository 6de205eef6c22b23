package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each check finds what it is there for: a file with a mistake is refused.
func TestMistakesAreFound(t *testing.T) {
	for _, tt := range []struct{ check, file, from, to, want string }{
		{"image", "Dockerfile", "USER 65532:65532", "USER root", "runs as"},
		{"image", "Dockerfile", "FROM scratch", "FROM ${GO_IMAGE}", "stages"},
		{"image", "Dockerfile", "RUN go mod download", "RUN curl https://example.org", "fetches"},
		{"image", "Dockerfile", `"healthcheck"]`, `"serve"]`, "health is asked by"},
		{"compose", "compose/compose.yaml", "read_only: true", "read_onyl: true", "read_onyl"},
		{"compose", "compose/compose.yaml", "networks: {stores-us: {}, border:", "networks: {stores-ch: {}, border:", "gateway-us-1"},
		{"compose", "compose/compose.yaml", "stores-us: {internal: true}", "stores-us: {}", "leads elsewhere"},
		{"compose", "compose/compose.yaml", "condition: service_completed_successfully", "condition: service_started", "does not wait for the tables"},
		{"compose", "compose/compose.yaml", `"127.0.0.1:9444:8443"`, `"9444:8443"`, "from other machines"},
		{"compose", "compose/compose.yaml", "./us.yaml:/etc", "./su.yaml:/etc", "su.yaml"},
		{"compose", "compose/compose.yaml", "network_mode: service:gateway-us-2", "network_mode: service:gateway-us-1", "agent-us-2"},
		{"compose", "compose/us.yaml", "postgres-us:5432/keys", "postgres-ch:5432/keys", "keeps data at postgres-ch"},
		{"compose", "compose/us.yaml", "postgres-us:5432/keys?", "postgres-us:5432/domicile?", "apart from"},
		{"compose", "compose/us.yaml", "location: US", "location: CH", "location"},
		{"compose", "compose/us.yaml", "attests:", "attest:", "attest"},
		{"compose", "compose/ch.yaml", `identity: "spiffe://example.org/us/gateway"`, `identity: "spiffe://example.org/ch/gateway"`, "knows the peer us"},
		{"compose", "compose/ch.yaml", "/run/secrets/pgpass", "/run/secrets/pgpas", "/pgpas"},
		{"compose", "compose/ch.yaml", "audit_origin: audit", "audit_origin: /audit", "audit_origin"},
		{"prometheus", "prometheus/agent.yml", "scrape_configs", "scrape_config", "scrape_config"},
		{"prometheus", "prometheus/prometheus.yml", "evaluation_interval: 15s", "evaluation_interval: often", "often"},
		{"chart", "helm/domicile/templates/deployment.yaml", "readinessProbe:", "readinesProbe:", "readinesProbe"},
		{"chart", "helm/domicile/templates/deployment.yaml", "{{ .Values.replicas }}", "{{ .Values.replica }", "deployment.yaml"},
		{"chart", "helm/domicile/templates/deployment.yaml", "mountPath: /secrets/tls", "mountPath: /secrets/tsl", "/secrets/tls"},
		{"chart", "helm/domicile/templates/deployment.yaml", "healthcheck, --alive]", "health]", "startupProbe runs"},
		{"chart", "helm/domicile/templates/_helpers.tpl", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "may write its image"},
		{"chart", "helm/domicile/templates/_helpers.tpl", `"admin_listen" "127.0.0.1:9464"`, `"admin_listen" "0.0.0.0:9464"`, "loopback"},
		{"chart", "helm/domicile/templates/_helpers.tpl", "$drain 15 -}}", "-}}", "a pod is killed after"},
		{"chart", "helm/domicile/templates/_helpers.tpl", "defaultMode: 0400", "defaultMode: 0444", "want 0400"},
		{"chart", "helm/domicile/templates/service.yaml", "app.kubernetes.io/component: gateway", "app.kubernetes.io/component: gatway", "want the gateways chosen"},
		{"chart", "helm/us.yaml", "closed: true", "closd: true", "closd"},
		{"chart", "helm/us.yaml", "owner: CloudSigma Inc", "owner: Somebody", "owner"},
		{"units", "systemd/domiciled.service", "ProtectSystem=strict", "ProtectSytem=strict", "ProtectSytem"},
		{"units", "systemd/domiciled.service", "SystemCallFilter=@system-service", "", "exposure"},
		{"units", "systemd/domiciled.service", "TimeoutStopSec=45", "TimeoutStopSec=15", "stops after"},
		{"units", "systemd/domiciled.service", "LoadCredential=s3:", "LoadCredential=s4:", "gives no credential s3"},
		{"units", "systemd/domiciled-migrate.service", "Type=oneshot", "Type=once", "Type"},
		{"units", "systemd/domicile.yaml", "jurisdiction: CH", "jurisdiction: DE", "jurisdiction"},
	} {
		t.Run(tt.check+"/"+tt.want, func(t *testing.T) {
			t.Parallel()
			c := find(t, tt.check)
			need(t, c.tools)
			root := copied(t)
			file := filepath.Join(root, filepath.FromSlash(tt.file))
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), tt.from) {
				t.Fatalf("%s has no %q to be changed", tt.file, tt.from)
			}
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), tt.from, tt.to)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := c.run(root); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s with %q: got %v, want an error that says %q", tt.file, tt.to, err, tt.want)
			}
		})
	}
}

func find(t *testing.T, name string) check {
	t.Helper()
	for _, c := range checks {
		if c.name == name {
			return c
		}
	}
	t.Fatalf("no check is named %q", name)
	return check{}
}
