package supervisor

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Request asks something of the job. The first one that asks for the end stops the job gently.
// Further ones of the same kind change nothing.
type Request struct {
	// Signal says what is requested: TERM, INT, HUP, QUIT and PIPE stop the job, TSTP suspends it,
	// CONT resumes it, and other signals are passed on to the workers.
	Signal syscall.Signal
	// Direct says that the signal was sent to this process rather than to its keeper. It is only
	// acted on if it stops the job. A signal to the process group reaches both processes, and must
	// not reach the workers twice.
	Direct bool
	// Hurry shortens the grace period to a moment. If this process is killed as well, nothing is
	// left to end the processes that the workers have started.
	Hurry bool
	// Kill ends the grace period. Quit ends all waiting.
	Kill, Quit bool
	// Reason replaces the signal's name in messages.
	Reason string
	// Code, if not 0, replaces 128 plus the signal as the job's exit code.
	Code int
	// Err, if not nil, makes the end a failure of the launcher. The exit code is then Code or 125.
	Err error
	// Done, if not nil, is called when the request has been acted on.
	Done func()
}

// Stops reports whether the request asks for the job's end.
func (r Request) Stops() bool {
	return r.Kill || r.Quit || link.Stops(r.Signal) || r.Signal == unix.SIGPIPE
}

// ExitCode returns the job's exit code if the job ends because of the request.
func (r Request) ExitCode() int {
	switch {
	case r.Code != 0:
		return r.Code
	case r.Err != nil:
		return 125
	}
	return 128 + int(r.Signal)
}

// Why returns what messages call the request: its reason or, without one, its signal.
func (r Request) Why() string {
	if r.Reason != "" {
		return r.Reason
	}
	return process.SignalName(r.Signal)
}

// done calls Done if it is set.
func (r Request) done() {
	if r.Done != nil {
		r.Done()
	}
}
