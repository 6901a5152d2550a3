package affinity

import (
	"fmt"
	"slices"
	"strings"
)

// Mode says which CPUs the workers get.
type Mode string

const (
	// ModeNone gives every worker all allowed CPUs.
	ModeNone Mode = "none"
	// ModeNode gives every worker all allowed CPUs near its device.
	ModeNode Mode = "node"
	// ModeSocket gives every worker all allowed CPUs of the packages near its device.
	ModeSocket Mode = "socket"
	// ModeExclusive divides the cores near a device among the workers there, so that no two share a core.
	ModeExclusive Mode = "exclusive"
	// ModeCoreComplex gives every worker the CPUs near its device that share one L3. The workers there take the L3s in
	// turn, those with the most CPUs first.
	ModeCoreComplex Mode = "core-complex"
	// ModeSingle gives every worker one core near its device.
	ModeSingle Mode = "single"
	// ModeMap gives every worker the CPUs that the user chose for it. It needs more than its name: see [Policy].
	ModeMap Mode = "map"
)

// Modes returns the modes that need nothing but their name, the least binding first. [ModeMap] is not among them.
func Modes() []Mode {
	return []Mode{ModeNone, ModeNode, ModeSocket, ModeExclusive, ModeCoreComplex, ModeSingle}
}

// ParseMode returns the mode of that name, which is one of [Modes]. The error lists the names.
func ParseMode(s string) (Mode, error) { return parseName("affinity mode", s, Modes()) }

// parseName returns the name that s is, or an error of one line that says what they all are.
func parseName[T ~string](what, s string, names []T) (T, error) {
	if slices.Contains(names, T(s)) {
		return T(s), nil
	}
	var list []string
	for _, name := range names {
		list = append(list, string(name))
	}
	return "", fmt.Errorf("unknown %s %s; it is one of %s", what, quoted(s), strings.Join(list, ", "))
}
