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
	// ModeExclusive divides the cores near a device among the workers there, so that no two share a core.
	ModeExclusive Mode = "exclusive"
)

// Modes returns all modes, the least binding first.
func Modes() []Mode { return []Mode{ModeNone, ModeNode, ModeExclusive} }

// ParseMode returns the mode of that name. The error lists the names.
func ParseMode(s string) (Mode, error) {
	if slices.Contains(Modes(), Mode(s)) {
		return Mode(s), nil
	}
	var names []string
	for _, m := range Modes() {
		names = append(names, string(m))
	}
	return "", fmt.Errorf("unknown affinity mode %s; it is one of %s", quoted(s), strings.Join(names, ", "))
}
