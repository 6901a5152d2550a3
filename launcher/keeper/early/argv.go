package early

import (
	"os"
	"strconv"
	"time"
)

// supervise is the internal subcommand that starts a supervisor. Users do not call it.
const supervise = "supervise"

// Command is the command line of a supervisor.
type Command struct {
	// Link is the descriptor of the link, and Started the time at which the keeper was started, in
	// nanoseconds since the epoch.
	Link, Started string
	// Place says where the supervisor runs.
	Place Place
	// Args are the arguments of run.
	Args []string
}

// Place says whether a supervisor runs in a PID namespace of its own.
type Place string

const (
	// First is the place of the supervisor that is started first. It reads the flags, and asks for
	// another one in a namespace if they say so.
	First Place = "first"
	// Entering is the place of a supervisor that is in a namespace and has to mount /proc.
	Entering Place = "entering"
	// Inside is the place of a supervisor that is in a namespace and has mounted /proc.
	Inside Place = "inside"
	// Outside, followed by the reason, is the place of a supervisor that could not get a namespace.
	Outside Place = "outside: "
)

// Reason returns why a supervisor could not get a namespace. ok is false in another place.
func (p Place) Reason() (reason string, ok bool) {
	if len(p) < len(Outside) || p[:len(Outside)] != Outside {
		return "", false
	}
	return string(p[len(Outside):]), true
}

// argv returns the argument vector of the command.
func (c Command) argv() []string {
	return append([]string{os.Args[0], supervise, c.Link, c.Started, string(c.Place)}, c.Args...)
}

// ParseCommand parses an argument vector that argv has made. ok is false for any other one.
func ParseCommand(argv []string) (c Command, ok bool) {
	if len(argv) < 4 || argv[1] != supervise {
		return c, false
	}
	if len(argv) == 4 { // somebody has typed it
		return Command{Link: argv[2]}, true
	}
	return Command{Link: argv[2], Started: argv[3], Place: Place(argv[4]), Args: argv[5:]}, true
}

// nanoseconds formats a time for Command.Started.
func nanoseconds(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }
