package process

import (
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ExitStatus is how a process ended, as a shell shows it.
type ExitStatus struct {
	// Code is the exit code, 0 to 255; for a process that a signal ended, 128 plus the
	// signal's number.
	Code int `json:"exit_code"`
	// Signal is that signal's name, as SignalName gives it; "" for a process that exited.
	Signal string `json:"signal,omitempty"`
	// Core says that a core file was dumped.
	Core bool `json:"core_dumped"`
}

// ExitStatusOf reads a wait status (wait(2)).
func ExitStatusOf(ws unix.WaitStatus) ExitStatus {
	if ws.Signaled() {
		return ExitStatus{Code: 128 + int(ws.Signal()), Signal: SignalName(ws.Signal()),
			Core: ws.CoreDump()}
	}
	return ExitStatus{Code: ws.ExitStatus()}
}

// OK reports whether the process exited with code 0.
func (s ExitStatus) OK() bool { return s.Code == 0 }

// EndedBy reports whether that signal ended the process.
func (s ExitStatus) EndedBy(sig syscall.Signal) bool {
	return s.Signal != "" && s.Code == 128+int(sig)
}

// String says it in words: "exited with code 3", "terminated with signal SIGABRT (core
// dumped)".
func (s ExitStatus) String() string {
	if s.Signal == "" {
		return fmt.Sprintf("exited with code %d", s.Code)
	}
	// A signal without a name is "signal 40" already.
	text := "terminated with signal " + strings.TrimPrefix(s.Signal, "signal ")
	if s.Core {
		text += " (core dumped)"
	}
	return text
}

// SignalName is a signal's name, as "SIGTERM", or its number where it has none.
func SignalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(sig))
}
