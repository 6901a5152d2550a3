// Package link is what keeper and supervisor have to agree on.
//
// The link is a socket pair. The keeper writes one byte for each signal that it
// got, its number; the supervisor writes one byte when all workers are stopped and
// the keeper may stop itself. Signals come over the link, and not only as signals,
// because both processes are in the terminal's foreground group: one Ctrl-C reaches
// both, and only the link can be counted.
package link

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Suspended is what the supervisor writes.
const Suspended = 's'

// forwarded are the signals that a launcher acts on or passes on.
var forwarded = []os.Signal{
	unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT,
	unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCONT, unix.SIGTSTP,
}

// Listen subscribes to the forwarded signals, except for those that whoever
// started the launcher has had ignored (nohup does that with SIGHUP, a shell
// with SIGINT for a background job).
func Listen(c chan<- os.Signal) {
	for _, sig := range forwarded {
		if !signal.Ignored(sig) {
			signal.Notify(c, sig)
		}
	}
}

// Stops reports whether a signal asks for the job's end.
func Stops(sig os.Signal) bool {
	switch sig {
	case unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT:
		return true
	}
	return false
}
