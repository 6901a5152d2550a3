package affinity

import (
	"fmt"
	"strings"
)

// Policy is a mode and, for [ModeMap], the CPUs that the user chose.
type Policy struct {
	Mode Mode
	// Map is for ModeMap only: the CPUs of each worker, in the order of local ranks.
	Map []CPUSet
}

const mapPrefix = string(ModeMap) + "="

// ParsePolicy parses the name of a mode, as [ParseMode] does, or a map such as "map=0-3;4-7;8,10".
// A map has a list of CPUs (see [ParseCPUList]) for each worker, none of which is empty. Errors
// have one line.
func ParsePolicy(s string) (Policy, error) {
	lists, isMap := strings.CutPrefix(s, mapPrefix)
	if !isMap {
		mode, err := ParseMode(s)
		if err != nil {
			return Policy{}, fmt.Errorf("%w, or map=CPUS;CPUS… with a CPU list for each worker, "+
				"such as map=0-3;4-7", err)
		}
		return Policy{Mode: mode}, nil
	}
	p := Policy{Mode: ModeMap}
	for list := range strings.SplitSeq(lists, ";") {
		set, err := ParseCPUList(list)
		if err != nil {
			return Policy{}, fmt.Errorf("affinity map, set %d: %w", len(p.Map), err)
		}
		if set.IsEmpty() {
			return Policy{}, fmt.Errorf("affinity map, set %d is empty; give each worker at least "+
				"one CPU, as in map=0-3;4-7", len(p.Map))
		}
		p.Map = append(p.Map, set)
	}
	return p, nil
}

// String returns the policy in the form that [ParsePolicy] parses.
func (p Policy) String() string {
	if p.Mode != ModeMap {
		return string(p.Mode)
	}
	lists := make([]string, len(p.Map))
	for i, set := range p.Map {
		lists[i] = set.String()
	}
	return mapPrefix + strings.Join(lists, ";")
}

// MarshalText returns the policy in the form that [ParsePolicy] parses. It never fails.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText parses a policy as [ParsePolicy] does.
func (p *Policy) UnmarshalText(text []byte) error {
	policy, err := ParsePolicy(string(text))
	if err != nil {
		return err
	}
	*p = policy
	return nil
}

// checkMap returns an error if the user's sets cannot be used for that many workers on this
// machine. It checks all sets, including those for more workers than there are.
func (t *Topology) checkMap(sets []CPUSet, workers int) error {
	for i, set := range sets {
		if set.IsEmpty() {
			return fmt.Errorf("affinity map, set %d is empty; give each worker at least one CPU", i)
		}
		if missing := set.Subtract(t.Online.Union(t.Allowed)); !missing.IsEmpty() {
			return fmt.Errorf("affinity map, set %d: CPUs %s do not exist or are offline "+
				"(online: %s)", i, missing, t.Online)
		}
		if refused := set.Subtract(t.Allowed); !refused.IsEmpty() {
			return fmt.Errorf("affinity map, set %d: this process may not use CPUs %s "+
				"(allowed: %s)", i, refused, t.Allowed)
		}
	}
	if len(sets) < workers {
		return fmt.Errorf("affinity map: too few sets, %d for %d workers; give one for each "+
			"worker, and quote the semicolons for the shell", len(sets), workers)
	}
	return nil
}
