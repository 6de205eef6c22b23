package deploy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/domicile-project/domicile/server/config"
)

// render renders the chart by Helm itself, for a release named after the region.
func render(root, region string, args ...string) ([]byte, error) {
	args = append([]string{"template", region, "domicile", "--namespace", "domicile", "--kube-version", "1.31.0", "--values", region + ".yaml"}, args...)
	return execute(filepath.Join(root, "helm"), nil, "helm", args...)
}

// checkChart renders the chart for both regions and holds the objects against Kubernetes' types,
// against what a pod must not be able to do, and against the gateway's own configuration.
func checkChart(root string) error {
	for _, region := range []string{"ch", "us"} {
		if _, err := execute(filepath.Join(root, "helm"), nil, "helm", "lint", "--strict", "domicile", "--kube-version", "1.31.0", "--values", region+".yaml"); err != nil {
			return err
		}
		for _, args := range [][]string{nil, {"--set", "metrics.enabled=true,metrics.remoteWrite=http://prometheus:9090/api/v1/write,secrets.s3=,secrets.postgres="}} {
			text, err := render(root, region, args...)
			if err == nil {
				_, err = execute(root, text, "manifests")
			}
			if err == nil {
				err = checkObjects(root, text)
			}
			if err != nil {
				return fmt.Errorf("%s %v: %w", region, args, err)
			}
		}
	}
	return nil
}

// pod is a pod's template with the settings that the gateway in it gets.
type pod struct {
	name, component string
	labels, spec    object
}

func checkObjects(root string, text []byte) error {
	all, err := documents(text)
	if err != nil {
		return err
	}
	w := &wants{}
	kinds := map[string]int{}
	configs := map[string]object{}
	pods := map[string]pod{}
	for _, o := range all {
		kind, name := o.text("kind"), o.text("metadata", "name")
		kinds[kind]++
		switch kind {
		case "ConfigMap":
			configs[name] = o.object("data")
		case "Deployment", "Job":
			t := o.object("spec", "template")
			pods[kind] = pod{name, t.text("metadata", "labels", "app.kubernetes.io/component"), t.object("metadata", "labels"), t.object("spec")}
		}
	}
	for kind, n := range map[string]int{"Deployment": 1, "Job": 1, "Service": 2, "NetworkPolicy": 1, "PodDisruptionBudget": 1} {
		w.that(kinds[kind] == n, "%d objects of the kind %s, want %d", kinds[kind], kind, n)
	}
	for kind, p := range pods {
		w.errs = append(w.errs, checkPod(p, configs))
		w.that(p.component == map[string]string{"Deployment": "gateway", "Job": "migrate"}[kind], "%s is the component %q", kind, p.component)
	}
	for _, o := range all {
		checkSelector(w, o, pods)
	}
	w.errs = append(w.errs, checkConfigMaps(root, configs, pods["Deployment"]))
	return w.err()
}

// checkSelector holds what chooses pods against the pods.
func checkSelector(w *wants, o object, pods map[string]pod) {
	what := o.text("kind") + " " + o.text("metadata", "name")
	chooses := func(selector object, p pod) bool {
		for key, value := range selector {
			if p.labels[key] != value {
				return false
			}
		}
		return len(selector) > 0
	}
	switch o.text("kind") {
	case "Service":
		s := o.object("spec", "selector")
		w.that(chooses(s, pods["Deployment"]) && !chooses(s, pods["Job"]), "%s: want the gateways chosen, and not the migration", what)
	case "Deployment", "PodDisruptionBudget":
		s := o.object("spec", "selector", "matchLabels")
		w.that(chooses(s, pods["Deployment"]) && !chooses(s, pods["Job"]), "%s: want the gateways chosen, and not the migration", what)
	case "NetworkPolicy":
		s := o.object("spec", "podSelector", "matchLabels")
		w.that(chooses(s, pods["Deployment"]) && chooses(s, pods["Job"]), "%s: want all pods chosen", what)
		w.that(len(o.texts("spec", "policyTypes")) == 2, "%s: want what comes in and what goes out bounded", what)
	case "Job":
		w.that(o.text("metadata", "annotations", "helm.sh/hook") == "pre-install,pre-upgrade", "%s: want the tables brought up to date first", what)
	}
}

// checkPod holds a pod against what it must not be able to do, and its mounts against its volumes.
func checkPod(p pod, configs map[string]object) error {
	w := &wants{}
	w.that(p.spec.at("automountServiceAccountToken") == false, "%s: has a token of the cluster's", p.name)
	w.that(p.spec.at("securityContext", "runAsNonRoot") == true, "%s: may run as root", p.name)
	w.that(p.spec.text("securityContext", "seccompProfile", "type") == "RuntimeDefault", "%s: has no seccomp profile", p.name)
	w.that(p.spec.at("securityContext", "fsGroup") != nil, "%s: cannot read its secrets without a group of its own", p.name)
	volumes := map[string]bool{}
	for _, v := range p.spec.objects("volumes") {
		volumes[v.text("name")] = true
		if c := v.text("configMap", "name"); c != "" {
			w.that(configs[c] != nil, "%s: there is no ConfigMap %s", p.name, c)
		}
		w.that(v.object("secret") == nil || v.text("secret", "defaultMode") == "256", "%s: secret %s has the mode %s, want 0400", p.name, v.text("name"), v.text("secret", "defaultMode"))
	}
	for _, c := range p.spec.objects("containers") {
		what := p.name + "/" + c.text("name")
		s := c.object("securityContext")
		w.that(s.at("readOnlyRootFilesystem") == true && s.at("allowPrivilegeEscalation") == false, "%s: may write its image or gain rights", what)
		w.that(reflect.DeepEqual(s.texts("capabilities", "drop"), []string{"ALL"}), "%s: keeps capabilities", what)
		w.that(c.text("resources", "limits", "memory") != "", "%s: has no bound on its memory", what)
		for _, m := range c.objects("volumeMounts") {
			w.that(volumes[m.text("name")], "%s: there is no volume %s", what, m.text("name"))
		}
		if c.text("name") == "gateway" {
			for _, probe := range []string{"startupProbe", "readinessProbe", "livenessProbe"} {
				command := c.texts(probe, "exec", "command")
				w.that(len(command) > 1 && command[0] == "/usr/bin/domiciled" && command[1] == "healthcheck", "%s: %s runs %v", what, probe, command)
			}
			w.that(c.text("lifecycle", "preStop", "sleep", "seconds") != "", "%s: stops before everybody has learnt of it", what)
		}
	}
	return w.err()
}

// checkConfigMaps has the gateway's configuration read as it will be in the pod, and its files looked for among the mounts.
func checkConfigMaps(root string, configs map[string]object, gateway pod) error {
	w := &wants{}
	dir, err := os.MkdirTemp(root, "config-")
	if err != nil {
		return err
	}
	for name, data := range configs {
		text := data.text("domicile.yaml")
		if text == "" {
			continue
		}
		file := filepath.Join(dir, name+".yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
		c, err := accepted(file, "DOMICILE_GATEWAY_NAME="+gateway.name+"-6c4d9d5b7c-x2x4z")
		if err != nil {
			return fmt.Errorf("ConfigMap %s: %w", name, err)
		}
		w.errs = append(w.errs, checkPlaces(c, text, gateway))
	}
	w.that(configs[gateway.name].text("domicile.yaml") == configs[gateway.name+"-migrate"].text("domicile.yaml"), "the migration has another configuration than the gateways")
	return w.err()
}

// checkPlaces holds a configuration against the pod that it is for.
func checkPlaces(c *config.Config, text string, p pod) error {
	w := &wants{}
	var mounts []string
	for _, container := range p.spec.objects("containers") {
		for _, m := range container.objects("volumeMounts") {
			mounts = append(mounts, m.text("mountPath")+"/")
		}
	}
	_, directoryKey := config.Location(c.DirectoryKey)
	for _, file := range []string{c.TLS.Certificate, c.TLS.Key, c.TLS.ClientCA, directoryKey} {
		w.that(strings.Contains(strings.Join(mounts, "\n"), filepath.Dir(file)+"/"), "nothing is mounted at %s", file)
	}
	w.that(config.Loopback(c.Gateway.AdminListen), "the health checks ask another address than %s", c.Gateway.AdminListen)
	grace, err := strconv.Atoi(p.spec.text("terminationGracePeriodSeconds"))
	w.that(err == nil && time.Duration(grace)*time.Second >= c.Limits.Drain+10*time.Second, "a pod is killed after %d s, and calls are given %v", grace, c.Limits.Drain)
	w.that(!strings.Contains(text, "require_sync_standby=false"), "the loss of one machine loses what was acknowledged")
	return w.err()
}

// What would not work or not be safe is refused when the chart is rendered.
func TestChartRefusals(t *testing.T) {
	need(t, []string{"helm"})
	root := copied(t)
	for args, want := range map[string]string{
		"--set replicas=1":                                      "replicas",
		"--set config.gateway.name=zrh-1":                       "config",
		"--set config.tls.certificate=/x":                       "config",
		"--set secrets.keys=":                                   "secrets/keys",
		"--set secret.keys=x":                                   "additional properties 'secret' not allowed",
		"--set config.regions.ch.key_store=":                    "key_store: want a postgres:// location",
		"--set config.regions.ch.clusters[0].rows=pebble:/rows": "want rows in postgres://",
		"--set config.directory=pebble:/directory":              "config.directory: want a postgres:// location",
		"--set config.regions.ch.peer.address=x:1":              "want exactly one region without a peer",
		"--set config.limits.drain=1m":                          "want whole seconds",
		"--set metrics.enabled=true":                            "metrics.remoteWrite",
		"--kube-version 1.29.0":                                 "kubeVersion",
	} {
		_, err := render(root, "ch", strings.Fields(args)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want an error that says %q", args, err, want)
		}
	}
	if _, err := render(root, "ch", "--set", "replicas=2"); err != nil {
		t.Error(errors.Unwrap(err))
	}
}
