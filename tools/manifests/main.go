// Command manifests checks Kubernetes objects, as Helm renders them, against
// Kubernetes' own types: an unknown, repeated or misplaced field and a value of a wrong
// type are errors. It reads YAML documents from its input, and needs no cluster.
//
// It is a module of its own, so that Kubernetes' types do not become the product's.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"
)

func main() {
	n, err := check(os.Stdin)
	if err == nil && n == 0 {
		err = errors.New("no object was read")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		os.Exit(1)
	}
	fmt.Printf("%d objects are well formed\n", n)
}

// check reads every document and gives how many objects there were.
func check(r io.Reader) (n int, err error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		core.AddToScheme, apps.AddToScheme, batch.AddToScheme, networking.AddToScheme, policy.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return 0, err
		}
	}
	var errs []error
	for documents := yaml.NewYAMLReader(bufio.NewReader(r)); ; {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return n, errors.Join(errs...)
		}
		if err != nil {
			return n, err
		}
		there, err := object(scheme, text)
		if there {
			n++
		}
		errs = append(errs, err)
	}
}

// object decodes one document, which may be empty, into the type that it says it is.
func object(scheme *runtime.Scheme, text []byte) (there bool, err error) {
	var head meta.PartialObjectMetadata
	if err := strict.Unmarshal(text, &head); err != nil {
		return false, err
	}
	if head.Kind == "" && head.APIVersion == "" && head.Name == "" {
		return false, nil
	}
	typed, err := scheme.New(head.GroupVersionKind())
	if err == nil {
		err = strict.UnmarshalStrict(text, typed)
	}
	if err != nil {
		return true, fmt.Errorf("%s %s: %w", head.Kind, head.Name, err)
	}
	return true, nil
}
