package process

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/plural"
)

// WithState describes a process that does not end, with its state and the kernel function in which
// it waits: "4711 (python3, state D in nfs_wait_bit_killable)". The kernel names the function only
// to those who may trace the process.
func (d Descendant) WithState() string {
	now, ok := Read(d.PID)
	if !ok {
		return d.String()
	}
	text := fmt.Sprintf("%d (%s, state %c", d.PID, d.Name, now.State)
	if unix.Kill(d.PID, 0) == unix.EPERM {
		text += ", of " + owner(d.PID) + ", whom this user may not signal"
	}
	if tracer := tracer(d.PID); tracer != 0 {
		text += fmt.Sprintf(", traced by process %d", tracer)
	}
	if channel, err := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", d.PID)); err == nil &&
		len(channel) > 1 {
		text += " in " + string(channel)
	}
	return text + ")"
}

// owner returns "user NAME" for a process, or "another user".
func owner(pid int) string {
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return "another user"
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "another user"
	}
	id := strconv.FormatUint(uint64(st.Uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return "user " + u.Username
	}
	return "user " + id
}

// tracer returns the process that traces a process, or 0. A process that has been killed does not
// go away before its tracer has noticed (ptrace(2)).
func tracer(pid int) int {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "TracerPid:"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(value))
			return n
		}
	}
	return 0
}

// Describe names up to 8 processes: "2 processes that they left behind: 12 (sh), 13 (sleep)".
func Describe(list []Descendant, what string) string {
	return describe(list, what, Descendant.String)
}

// DescribeUnkillable names processes that cannot be killed, with what they are doing.
func DescribeUnkillable(list []Descendant) string {
	return describe(list, "cannot be killed", Descendant.WithState)
}

func describe(list []Descendant, what string, name func(Descendant) string) string {
	const most = 8
	names := make([]string, 0, most)
	for _, d := range list[:min(len(list), most)] {
		names = append(names, name(d))
	}
	if len(list) > most {
		names = append(names, fmt.Sprintf("and %d more", len(list)-most))
	}
	head := plural.Of(len(list), "%d process", "%d processes")
	return head + " " + what + ": " + strings.Join(names, ", ")
}
