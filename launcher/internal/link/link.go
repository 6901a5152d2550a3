// Package link is what keeper and supervisor have to agree on.
//
// The link is a socket pair. The keeper writes one byte for each request: the number of a
// signal, or Kill or Quit. The supervisor writes lines: a word and what it is about.
// Requests come over the link, and not only as signals, because both processes are in the
// terminal's foreground group: one Ctrl-C reaches both, and only the keeper counts.
package link

import (
	"os"
	"os/signal"
	"syscall"
)

// The bytes that the keeper writes beside signal numbers, which end at 64.
const (
	// Kill: stop waiting for workers to end by themselves.
	Kill = 0xf0
	// Quit: stop waiting for anything.
	Quit = 0xf1
)

// The words that the supervisor writes.
const (
	// Suspended: all workers are stopped, the keeper may stop itself.
	Suspended = "suspended"
	// Cgroup PATH: the job's control group, to be ended and removed with the job.
	Cgroup = "cgroup"
	// Folder PATH: the job's private folder, to be removed if the supervisor cannot.
	Folder = "folder"
	// Exit CODE: the supervisor's last word; one that crashes does not say it.
	Exit = "exit"
	// Leave: the job has ended well and what it left behind may go on.
	Leave = "leave"
)

// KeeperLost is the signal that the kernel sends to the supervisor when the keeper has died
// (prctl(2), PR_SET_PDEATHSIG). It is one that nobody else sends (SIGRTMAX, signal(7)):
// SIGTERM would be taken for a request by somebody who grants the grace period, since the
// kernel sends it when the keeper's first thread ends, and ends the link after the last.
const KeeperLost = syscall.Signal(64)

// forwarded are the signals that a launcher acts on or passes on.
var forwarded = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGTSTP,
}

// Listen subscribes to the forwarded signals, except for those that whoever
// started the launcher has had ignored (nohup does that with SIGHUP, a shell
// with SIGINT for a background job). Those that ask for the end go to stops: a
// channel that is full loses signals, and a flood of the others must not lose these.
func Listen(others, stops chan<- os.Signal) {
	for _, sig := range forwarded {
		switch {
		case signal.Ignored(sig):
		case Stops(sig):
			signal.Notify(stops, sig)
		default:
			signal.Notify(others, sig)
		}
	}
}

// Stops reports whether a signal asks for the job's end.
func Stops(sig os.Signal) bool {
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT:
		return true
	}
	return false
}
