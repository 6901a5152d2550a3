package early

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
)

// Signals are what a supervisor is sent.
type Signals struct {
	// Direct gets those that come directly, and not over the link.
	Direct chan os.Signal
	// ChildEnded gets SIGCHLD; one is as good as many.
	ChildEnded chan os.Signal

	subscribed chan struct{}
}

// Subscribe begins to subscribe, in a goroutine of its own. A signal that comes before that
// ends this process, which has started nothing yet.
func Subscribe() *Signals {
	s := &Signals{Direct: make(chan os.Signal, 64), ChildEnded: make(chan os.Signal, 1),
		subscribed: make(chan struct{})}
	go s.subscribe()
	return s
}

// Await waits until all are subscribed to. Nothing may be written before, and nothing
// started.
func (s *Signals) Await() { <-s.subscribed }

func (s *Signals) subscribe() {
	defer close(s.subscribed)
	// Go answers the first with a trace, and the second stops this process alone.
	signal.Notify(s.Direct, syscall.SIGQUIT, syscall.SIGTSTP)
	// Writing to a standard output that nobody reads must give an error rather than end
	// this process with its workers still running (see package os/signal). Ignoring the
	// signal would do that as well, but workers would inherit it (execve(2)).
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signal.Notify(s.ChildEnded, syscall.SIGCHLD)
	link.Listen(s.Direct, s.Direct) // one that is lost here comes over the link, too
	signal.Notify(s.Direct, link.KeeperLost)
}
