package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/domicile-project/domicile/residency/policy"
)

// maxPolicy is the longest policy file that is read, in bytes.
const maxPolicy = 1 << 20

// LoadPolicies reads a region's policy files. A policy of another controller or
// jurisdiction than the region's is refused.
func (c *Config) LoadPolicies(region string) ([]*policy.Policy, error) {
	r := c.Regions[region]
	if r.Peer != nil && len(r.Policies) == 0 {
		return nil, nil
	}
	var out []*policy.Policy
	var problems Problems
	for i, name := range r.Policies {
		p, err := c.loadPolicy(name)
		if err == nil {
			err = belongs(p, r)
		}
		if err != nil {
			problems = append(problems, c.source.problem(path{"regions", region, "policies", i}, err.Error()))
			continue
		}
		out = append(out, p)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	if err := policy.Check(out); err != nil {
		return nil, Problems{c.source.problem(path{"regions", region, "policies"}, err.Error())}
	}
	return out, nil
}

func belongs(p *policy.Policy, r Region) error {
	switch {
	case p.Jurisdiction.String() != r.Jurisdiction:
		return fmt.Errorf("is a policy of %v, not of the region's jurisdiction", p.Jurisdiction)
	case p.Controller != r.Controller:
		return fmt.Errorf("names the controller %q, not the region's (clause controller)", p.Controller)
	}
	return nil
}

func (c *Config) loadPolicy(name string) (*policy.Policy, error) {
	text, err := c.policyFile(name)
	if err != nil {
		return nil, err
	}
	p, err := policy.Parse(text)
	if err != nil {
		return nil, err
	}
	return p, p.Verify().Err()
}

// policyFile finds a policy's file: beside the configuration file, else among the
// shipped ones.
func (c *Config) policyFile(name string) ([]byte, error) {
	file := name
	if c.source != nil {
		file = absolute(c.source.folder, name)
	}
	if c.source != nil || filepath.IsAbs(name) {
		info, err := os.Stat(file)
		switch {
		case err == nil && (!info.Mode().IsRegular() || info.Size() > maxPolicy):
			return nil, fmt.Errorf("want a regular file of at most %d bytes", maxPolicy)
		case err == nil:
			return os.ReadFile(file)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	if text, ok := policy.Shipped(name); ok {
		return text, nil
	}
	return nil, fmt.Errorf("no such file, and none of that name is shipped; shipped are %v", policy.ShippedNames())
}
