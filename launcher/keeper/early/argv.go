package early

import (
	"os"
	"strconv"
	"time"
)

// supervise is the internal subcommand that starts a supervisor. Users do not call it.
const supervise = "supervise"

// supervisorArgv returns the command line of a supervisor. It has the descriptor of the link, the
// time at which the keeper was started, and the arguments of run.
func supervisorArgv(link int, started time.Time, args []string) []string {
	argv := []string{os.Args[0], supervise, strconv.Itoa(link),
		strconv.FormatInt(started.UnixNano(), 10)}
	return append(argv, args...)
}

// SupervisorArgs parses a command line that supervisorArgv has made. ok is false for any other
// command line.
func SupervisorArgs(argv []string) (link, started string, args []string, ok bool) {
	if len(argv) < 4 || argv[1] != supervise {
		return "", "", nil, false
	}
	return argv[2], argv[3], argv[4:], true
}
