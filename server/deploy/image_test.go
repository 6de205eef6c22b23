package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// instruction is one of a Dockerfile's.
type instruction struct{ name, rest string }

func instructions(file string) ([]instruction, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []instruction
	joined := strings.ReplaceAll(string(text), "\\\n", " ")
	for line := range strings.Lines(joined) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		out = append(out, instruction{name, strings.TrimSpace(rest)})
	}
	return out, nil
}

// fetches matches commands that bring in what no lock names.
var fetches = regexp.MustCompile(`\b(curl|wget|apt|apt-get|apk|yum|dnf|git|pip|npm)\b|https?://`)

// checkImage holds the Dockerfiles against what they promise. No builder runs.
func checkImage(root string) error {
	w := &wants{}
	for _, name := range []string{"Dockerfile", "compose/versitygw.Dockerfile"} {
		all, err := instructions(filepath.Join(root, name))
		if err != nil {
			return err
		}
		known := []string{"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT"}
		last, stages := map[string]string{}, []string{}
		for _, i := range all {
			w.that(slices.Contains(known, i.name), "%s: instruction %s is none that is used here", name, i.name)
			w.that(i.name != "RUN" || !fetches.MatchString(i.rest), "%s: RUN fetches what no lock names: %s", name, i.rest)
			if i.name == "FROM" {
				stages, last = append(stages, i.rest), map[string]string{}
			}
			last[i.name] = i.rest
		}
		w.that(slices.Equal(stages, []string{"${GO_IMAGE} AS build", "scratch"}), "%s: stages %q, want the build's and an empty one", name, stages)
		w.that(last["USER"] == "65532:65532", "%s: runs as %q", name, last["USER"])
		w.that(last["RUN"] == "", "%s: the image has no shell to run %q", name, last["RUN"])
		if name == "Dockerfile" {
			w.that(last["ENTRYPOINT"] == `["/usr/bin/domiciled"]`, "%s: starts %s", name, last["ENTRYPOINT"])
			w.that(strings.HasSuffix(last["HEALTHCHECK"], `CMD ["/usr/bin/domiciled", "healthcheck"]`), "%s: health is asked by %s", name, last["HEALTHCHECK"])
			w.that(last["ENV"] == "DOMICILE_CONFIG=/etc/domicile/domicile.yaml", "%s: environment %s", name, last["ENV"])
		}
	}
	sent, err := os.ReadFile(filepath.Join(root, "Dockerfile.dockerignore"))
	if err != nil {
		return err
	}
	w.that(slices.Contains(strings.Split(string(sent), "\n"), "*"), "Dockerfile.dockerignore: want everything left out but what is named")
	return w.err()
}
