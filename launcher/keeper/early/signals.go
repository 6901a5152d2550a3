package early

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
)

// Signals are the channels that receive a supervisor's signals.
type Signals struct {
	// Direct receives signals that are sent to the supervisor itself and do not come over the link.
	Direct chan os.Signal
	// ChildEnded receives SIGCHLD. It has room for one, because more would add nothing.
	ChildEnded chan os.Signal

	subscribed chan struct{}
}

// Subscribe subscribes to the signals and makes the threads that this process needs, in a goroutine
// of its own. A signal that comes earlier ends this process, which has started nothing yet.
func Subscribe() *Signals {
	limitProcs()
	s := &Signals{Direct: make(chan os.Signal, 64), ChildEnded: make(chan os.Signal, 1),
		subscribed: make(chan struct{})}
	go s.subscribe()
	return s
}

// Await waits until all signals are subscribed to and, if a limit on threads is near, all threads
// made. Before that, nothing may be written or started.
func (s *Signals) Await() { <-s.subscribed }

func (s *Signals) subscribe() {
	defer close(s.subscribed)
	// SIGQUIT would make Go print a stack trace, and SIGTSTP would stop this process alone.
	signal.Notify(s.Direct, syscall.SIGQUIT, syscall.SIGTSTP)
	// Writing to a standard output that nobody reads must give an error rather than end
	// this process with its workers still running (see package os/signal). Ignoring the
	// signal would do that as well, but workers would inherit it (execve(2)).
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signal.Notify(s.ChildEnded, syscall.SIGCHLD)
	link.Listen(s.Direct, s.Direct) // a signal that is lost here also comes over the link
	prepareThreads(supervisorThreads)
}
