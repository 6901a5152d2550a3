package early

import (
	"os"
	"strconv"
	"time"
)

// supervise is the subcommand of a supervisor. It is not for people.
const supervise = "supervise"

// supervisorArgv gives the command line of a supervisor: the descriptor of its link, when
// the keeper was started, and the arguments of run.
func supervisorArgv(link int, started time.Time, args []string) []string {
	argv := []string{os.Args[0], supervise, strconv.Itoa(link),
		strconv.FormatInt(started.UnixNano(), 10)}
	return append(argv, args...)
}

// SupervisorArgs takes such a command line apart; ok is false if it is another one.
func SupervisorArgs(argv []string) (link, started string, args []string, ok bool) {
	if len(argv) < 4 || argv[1] != supervise {
		return "", "", nil, false
	}
	return argv[2], argv[3], argv[4:], true
}
