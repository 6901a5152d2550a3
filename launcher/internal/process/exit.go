package process

import (
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ExitStatus says how a process ended, as a shell reports it.
type ExitStatus struct {
	// Code is the exit code, 0 to 255. If a signal ended the process, it is 128 plus the signal's
	// number.
	Code int `json:"exit_code"`
	// Signal is the name of that signal, as SignalName returns it, and "" if the process exited.
	Signal string `json:"signal,omitempty"`
	// Core is true if a core file was dumped.
	Core bool `json:"core_dumped"`
}

// ExitStatusOf decodes a wait status (wait(2)).
func ExitStatusOf(ws unix.WaitStatus) ExitStatus {
	if ws.Signaled() {
		return ExitStatus{Code: 128 + int(ws.Signal()), Signal: SignalName(ws.Signal()),
			Core: ws.CoreDump()}
	}
	return ExitStatus{Code: ws.ExitStatus()}
}

// OK reports whether the process exited with code 0.
func (s ExitStatus) OK() bool { return s.Code == 0 }

// EndedBy reports whether sig ended the process.
func (s ExitStatus) EndedBy(sig syscall.Signal) bool {
	return s.Signal != "" && s.Code == 128+int(sig)
}

// String returns "exited with code 3" or "terminated with signal SIGABRT (core dumped)".
func (s ExitStatus) String() string {
	if s.Signal == "" {
		return fmt.Sprintf("exited with code %d", s.Code)
	}
	// The name of a signal without a name is "signal 40".
	text := "terminated with signal " + strings.TrimPrefix(s.Signal, "signal ")
	if s.Core {
		text += " (core dumped)"
	}
	return text
}

// SignalName returns the name of a signal, as "SIGTERM", or "signal 40" if it has none.
func SignalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(sig))
}
