package supervisor

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Request is what somebody outside wants of the job. The first one that asks for the end
// stops the job gently; asking again in the same way changes nothing.
type Request struct {
	// Signal stops the job (TERM, INT, HUP, QUIT, PIPE), suspends it (TSTP), resumes it
	// (CONT), or is passed on to the workers.
	Signal syscall.Signal
	// Direct says that the signal was sent to the supervisor itself rather than to its
	// keeper. Only a stopping one counts then: a signal to the process group reaches
	// both, and must not reach the workers twice.
	Direct bool
	// Hurry shortens the grace period to a moment: if this process is killed as well,
	// nobody is left to end what the workers have started.
	Hurry bool
	// Kill asks for the end of the grace period, Leave for the end of all waiting.
	Kill, Leave bool
	// Reason replaces the signal's name in what is printed.
	Reason string
	// Code replaces 128 plus the signal as the job's exit code, if not 0.
	Code int
	// Err makes the end a failure of the launcher rather than the user's wish; the exit
	// code is then Code or 125.
	Err error
	// Done, if set, is called when the request has been acted on.
	Done func()
}

// Stops reports whether the request asks for the job's end.
func (r Request) Stops() bool {
	return r.Kill || r.Leave || link.Stops(r.Signal) || r.Signal == unix.SIGPIPE
}

// ExitCode is the job's exit code when it ends because of the request.
func (r Request) ExitCode() int {
	switch {
	case r.Code != 0:
		return r.Code
	case r.Err != nil:
		return 125
	}
	return 128 + int(r.Signal)
}

// Why names the request in messages: its reason, or else its signal.
func (r Request) Why() string {
	if r.Reason != "" {
		return r.Reason
	}
	return process.SignalName(r.Signal)
}

// done says that the request has been acted on.
func (r Request) done() {
	if r.Done != nil {
		r.Done()
	}
}
