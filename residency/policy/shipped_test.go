package policy

import "testing"

// shippedPolicies parses every file that comes with the program.
func shippedPolicies(t testing.TB) map[string]*Policy {
	t.Helper()
	out := make(map[string]*Policy)
	for _, name := range ShippedNames() {
		file, ok := Shipped(name)
		if !ok {
			t.Fatalf("%s is listed but not there", name)
		}
		p, err := Parse(file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[p.Jurisdiction.String()] = p
	}
	return out
}

func TestShippedVerify(t *testing.T) {
	for _, p := range shippedPolicies(t) {
		r := p.Verify()
		t.Logf("%s: %d rules, %d verdicts, %d cells: %d allowed, %d conditional, %d denied", r.Version, r.Rules, r.Verdicts, r.Cells, r.Allowed, r.Conditional, r.Denied)
		for _, c := range r.Claims {
			t.Logf("  %-40s over %6d: %s", c.Clause, c.Checked, c.Says)
		}
		if err := r.Err(); err != nil {
			t.Error(err)
		}
	}
}
