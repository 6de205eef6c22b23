package policy

import "embed"

//go:embed *.yaml
var shipped embed.FS

// Shipped gives a policy file that comes with the program, by its name (for
// example "ch-2012-05-02.yaml"). The bytes are the caller's.
func Shipped(name string) ([]byte, bool) {
	file, err := shipped.ReadFile(name)
	return file, err == nil
}

// ShippedNames lists the policy files that come with the program, in ascending order.
func ShippedNames() []string {
	entries, err := shipped.ReadDir(".")
	if err != nil {
		return nil // an embedded root always reads
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}
