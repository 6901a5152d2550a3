package gpu

import (
	"fmt"
	"slices"
	"strings"
)

// Process is a process that computes on a GPU, whoever's it is.
type Process struct {
	// PID is the driver's word for it: inside a container it may be that of the host.
	PID int `json:"pid"`
	// MIG is the UUID of the MIG instance that it runs on, or "".
	MIG string `json:"mig,omitempty"`
	// User is its user's name, or number where there is no name, or "" when it is not visible.
	User string `json:"user,omitempty"`
	// Command is the name of its program without folder and arguments, which may hold secrets; "" when nobody says.
	Command string `json:"command,omitempty"`
	// MemoryBytes is the device memory it uses, if MemoryKnown.
	MemoryBytes uint64 `json:"memory_bytes,omitempty"`
	MemoryKnown bool   `json:"memory_known"`
	// Visible is false when this process cannot look at it under its PID: it is in another PID namespace, or hidden.
	Visible bool `json:"visible"`
}

// Owner is "process 42 (alice, python3)", as far as known.
func (p Process) Owner() string {
	known := slices.DeleteFunc([]string{p.User, p.Command}, func(s string) bool { return s == "" })
	if len(known) == 0 {
		return fmt.Sprintf("process %d", p.PID)
	}
	return fmt.Sprintf("process %d (%s)", p.PID, strings.Join(known, ", "))
}
