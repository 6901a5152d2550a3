package affinity

import (
	"fmt"
	"strings"
)

// Policy is a mode with what belongs to it.
type Policy struct {
	Mode Mode
	// Map is for ModeMap alone: the CPUs of each worker, in the order of local ranks.
	Map []CPUSet
}

const mapPrefix = string(ModeMap) + "="

// ParsePolicy reads the name of a mode, as [ParseMode] does, or the user's own sets: "map=0-3;4-7;8,10" has one list of
// CPUs (see [ParseCPUList]) for each worker, none of them empty. The errors are of one line.
func ParsePolicy(s string) (Policy, error) {
	lists, isMap := strings.CutPrefix(s, mapPrefix)
	if !isMap {
		mode, err := ParseMode(s)
		if err != nil {
			return Policy{}, fmt.Errorf("%w, or map=CPUS;CPUS… with a CPU list for each worker, such as map=0-3;4-7", err)
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
			return Policy{}, fmt.Errorf("affinity map, set %d is empty; give each worker at least one CPU, as in map=0-3;4-7", len(p.Map))
		}
		p.Map = append(p.Map, set)
	}
	return p, nil
}

// String returns what [ParsePolicy] reads.
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

// MarshalText gives what [ParsePolicy] reads. It never fails.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what [ParsePolicy] does.
func (p *Policy) UnmarshalText(text []byte) error {
	policy, err := ParsePolicy(string(text))
	if err != nil {
		return err
	}
	*p = policy
	return nil
}

// checkMap says what is wrong with the user's sets for so many workers on this machine. All sets count, those of workers
// that are not there included: a mistake in them is one all the same.
func (t *Topology) checkMap(sets []CPUSet, workers int) error {
	for i, set := range sets {
		if set.IsEmpty() {
			return fmt.Errorf("affinity map, set %d is empty; give each worker at least one CPU", i)
		}
		if gone := set.Subtract(t.Online.Union(t.Allowed)); !gone.IsEmpty() {
			return fmt.Errorf("affinity map, set %d: CPUs %s do not exist or are offline (online: %s)", i, gone, t.Online)
		}
		if refused := set.Subtract(t.Allowed); !refused.IsEmpty() {
			return fmt.Errorf("affinity map, set %d: CPUs %s are not allowed to this process (allowed: %s)", i, refused, t.Allowed)
		}
	}
	if len(sets) < workers {
		return fmt.Errorf("affinity map: too few sets, %d for %d workers; give one for each, with the semicolons quoted for the shell",
			len(sets), workers)
	}
	return nil
}
