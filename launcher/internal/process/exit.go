package process

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit is how a process ended.
type Exit struct {
	// Code is the exit code, 0 when a signal ended the process.
	Code int
	// Signal is the signal that ended the process, 0 when it exited.
	Signal syscall.Signal
	// Core says that a core file was dumped.
	Core bool
}

// ExitOf reads a wait status.
func ExitOf(ws unix.WaitStatus) Exit {
	if ws.Signaled() {
		return Exit{Signal: ws.Signal(), Core: ws.CoreDump()}
	}
	return Exit{Code: ws.ExitStatus()}
}

// OK reports whether the process exited with code 0.
func (e Exit) OK() bool { return e.Code == 0 && e.Signal == 0 }

// ExitCode is the code that a shell would show: the exit code, or 128 plus the
// signal's number.
func (e Exit) ExitCode() int {
	if e.Signal != 0 {
		return 128 + int(e.Signal)
	}
	return e.Code
}

// String says it in words: "exited with code 3", "terminated with signal
// SIGABRT".
func (e Exit) String() string {
	switch {
	case e.Signal != 0 && e.Core:
		return "terminated with " + inWords(e.Signal) + " (core dumped)"
	case e.Signal != 0:
		return "terminated with " + inWords(e.Signal)
	}
	return fmt.Sprintf("exited with code %d", e.Code)
}

func inWords(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return "signal " + name
	}
	return SignalName(sig)
}

// SignalName is a signal's name, as "SIGTERM", or its number where it has none.
func SignalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(sig))
}
