package gpu

import (
	"fmt"
	"strings"
)

// Process is a process that computes on a GPU. It may belong to any user.
type Process struct {
	// PID is the number that the driver uses. Inside a container it may be the host's number.
	PID int `json:"pid"`
	// MIG is the UUID of the MIG instance that the process runs on, or "" for a whole GPU.
	MIG string `json:"mig,omitempty"`
	// User is the name of its user, or the user's number if there is no name. It is "" if the
	// process is not visible.
	User string `json:"user,omitempty"`
	// Command is the name of its program, without the folder and without the arguments, which
	// may hold secrets. It is "" if the name is unknown.
	Command string `json:"command,omitempty"`
	// MemoryBytes is the device memory that it uses. It means something only if MemoryKnown.
	MemoryBytes uint64 `json:"memory_bytes,omitempty"`
	MemoryKnown bool   `json:"memory_known"`
	// Visible is false if /proc does not show the process under its PID, because it is hidden or
	// belongs to another PID namespace.
	Visible bool `json:"visible"`
}

// String returns what is known about the process, in the form
// "process 42 (python3 of alice, 3.0 GiB)".
func (p Process) String() string {
	var known []string
	switch {
	case p.Command != "" && p.User != "":
		known = append(known, p.Command+" of "+p.User)
	case p.Command+p.User != "":
		known = append(known, p.Command+p.User)
	}
	if p.MemoryKnown {
		known = append(known, formatMemory(p.MemoryBytes))
	}
	if len(known) == 0 {
		return fmt.Sprintf("process %d", p.PID)
	}
	return fmt.Sprintf("process %d (%s)", p.PID, strings.Join(known, ", "))
}

// formatMemory writes less than a GiB in whole MiB, and the rest in GiB: "512 MiB", "3.0 GiB".
func formatMemory(bytes uint64) string {
	if bytes < 1<<30 {
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}
