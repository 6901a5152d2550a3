package affinity

import (
	"fmt"
	"slices"
	"strings"
)

// Mode says which CPUs workers get.
type Mode string

const (
	// ModeNone gives every worker all allowed CPUs.
	ModeNone Mode = "none"
	// ModeNode gives every worker all allowed CPUs near its device.
	ModeNode Mode = "node"
	// ModeSocket gives every worker all allowed CPUs of the packages near its device.
	ModeSocket Mode = "socket"
	// ModeExclusive divides the cores near a device among the workers there. No two of them share a
	// core, as long as there are enough.
	ModeExclusive Mode = "exclusive"
	// ModeCoreComplex gives every worker those CPUs near its device that share one L3. The workers
	// there take the L3s in turn, starting with the one that has the most CPUs.
	ModeCoreComplex Mode = "core-complex"
	// ModeSingle gives every worker one core near its device.
	ModeSingle Mode = "single"
	// ModeMap gives every worker the CPUs that the user chose for it. See [Policy].
	ModeMap Mode = "map"
)

// Modes returns the modes that need nothing but their name, the least restrictive first. [ModeMap]
// is not among them.
func Modes() []Mode {
	return []Mode{ModeNone, ModeNode, ModeSocket, ModeExclusive, ModeCoreComplex, ModeSingle}
}

// ParseMode returns the one of [Modes] that has this name. The error for other names lists them.
func ParseMode(s string) (Mode, error) { return parseName("affinity mode", s, Modes()) }

// parseName returns s if it is one of several names, and otherwise an error of one line that lists
// them.
func parseName[T ~string](what, s string, names []T) (T, error) {
	if slices.Contains(names, T(s)) {
		return T(s), nil
	}
	var list []string
	for _, name := range names {
		list = append(list, string(name))
	}
	last := len(list) - 1
	return "", fmt.Errorf("unknown %s %s: use %s or %s",
		what, quoted(s), strings.Join(list[:last], ", "), list[last])
}
