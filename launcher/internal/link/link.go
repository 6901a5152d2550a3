// Package link has what the keeper and the supervisor have to agree on.
//
// The link is a socket pair. The keeper writes one byte when it listens, and one for each request:
// the number of a signal, Kill or Quit. The supervisor writes lines of a word and what it is about. Signals alone would not
// do: both processes may be in the terminal's foreground process group, where one Ctrl-C reaches
// both, and only the keeper must count it. The end of the link tells each of them that the other is
// gone.
package link

import (
	"os"
	"os/signal"
	"syscall"
)

// The bytes that the keeper writes in addition to signal numbers, which end at 64.
const (
	// Kill: stop waiting for workers to end by themselves.
	Kill = 0xf0
	// Quit: stop waiting for anything.
	Quit = 0xf1
	// Listening: the keeper has subscribed to its signals. Before that, one of them would end the
	// keeper, so the supervisor starts nothing.
	Listening = 0xf2
)

// The words that the supervisor writes.
const (
	// Suspended: all workers are stopped, and the keeper may stop itself.
	Suspended = "suspended"
	// Cgroup PATH: the job's control group, whose members are to be killed with the job, and which
	// is then to be removed.
	Cgroup = "cgroup"
	// Folder PATH: the job's private folder, to be removed if the supervisor cannot.
	Folder = "folder"
	// Namespace MODE: the supervisor is about to end, and is to be started again in a PID namespace
	// of its own. SharedNamespace is the same for one that shares the terminal with the keeper.
	Namespace, SharedNamespace = "namespace", "namespace-shared"
	// NoNamespace REASON: a supervisor that was started in a namespace cannot run there.
	NoNamespace = "no-namespace"
	// Exit CODE: the supervisor is about to end normally. One that crashes does not send it.
	Exit = "exit"
	// LeaveBehind: the job has ended well, and the processes that it left behind may go on.
	LeaveBehind = "leave"
)

// forwarded are the signals that a launcher handles or passes on.
var forwarded = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGTSTP,
}

// Listen subscribes to the forwarded signals, except those that were ignored when the launcher was
// started (nohup does that with SIGHUP, a shell with SIGINT for a background job). Those that ask
// for the end go to stops and the rest to others. Two channels are needed because a full channel
// loses signals: many of the others must not make a request for the end get lost.
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
