package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/plural"
)

// Descendant is a process below this one.
type Descendant struct {
	PID  int    `json:"pid"`
	Name string `json:"name"` // from the kernel, at most 15 bytes
	// State is the letter of proc(5): R, S, D, Z and others.
	State byte `json:"-"`
	// Parent is the pid of the parent, and Group the process group.
	Parent int `json:"-"`
	Group  int `json:"-"`
	// start is the start time in clock ticks since boot. Together with the pid, it identifies a
	// process even after the pid has been reused.
	start uint64
}

// Usage says what a process has used so far.
type Usage struct {
	// CPU is the user and system time of the process and of those of its children that it has
	// waited for.
	CPU time.Duration
	// ResidentBytes is its resident memory.
	ResidentBytes uint64
}

func (d Descendant) String() string { return fmt.Sprintf("%d (%s)", d.PID, d.Name) }

// WithState describes a process that does not end, with its state and the kernel function in which
// it waits: "4711 (python3, state D in nfs_wait_bit_killable)". The kernel names the function only
// to those who may trace the process.
func (d Descendant) WithState() string {
	now, ok := Read(d.PID)
	if !ok {
		return d.String()
	}
	text := fmt.Sprintf("%d (%s, state %c", d.PID, d.Name, now.State)
	if channel, err := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", d.PID)); err == nil &&
		len(channel) > 1 {
		text += " in " + string(channel)
	}
	return text + ")"
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

// Descendants returns the descendants of the process root, according to /proc. Zombies are among
// them.
func Descendants(root int) ([]Descendant, error) { return DescendantsExcept(root, nil) }

// DescendantsExcept is Descendants without the processes for which spare returns true, and without
// their descendants. If spare is nil, none is left out.
func DescendantsExcept(root int, spare func(pid int) bool) ([]Descendant, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	children := map[int][]Descendant{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if d, ok := Read(pid); ok && (spare == nil || !spare(pid)) {
			children[d.Parent] = append(children[d.Parent], d)
		}
	}
	list := children[root]
	for i := 0; i < len(list); i++ {
		list = append(list, children[list[i].PID]...)
	}
	return list, nil
}

// Read returns one process. ok is false if it is gone.
func Read(pid int) (d Descendant, ok bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return d, false
	}
	d, _, ok = parseStat(data)
	return d, ok
}

// ReadUsage returns what a process has used so far. It reports false if the process is gone.
func ReadUsage(pid int) (Usage, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, false
	}
	_, u, ok := parseStat(data)
	return u, ok
}

// tick is the unit of the times in /proc/PID/stat: USER_HZ, which is 100 on every architecture that
// Go supports under Linux (see time(7)).
const tick = time.Second / 100

// parseStat reads the pid, name, state, parent, group, times, start time and resident memory
// (fields 1 to 5, 14 to 17, 22 and 24 of proc_pid_stat(5)). The name is in parentheses and may
// itself contain parentheses, spaces and newlines, so it ends at the last parenthesis.
func parseStat(data []byte) (d Descendant, u Usage, ok bool) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 2 || end < open {
		return d, u, false
	}
	fields := strings.Fields(string(data[end+1:])) // the first is field 3
	if len(fields) < 22 || len(fields[0]) != 1 {
		return d, u, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data[:open])))
	var numbers [22]int64
	for i := 1; i < len(numbers) && err == nil; i++ {
		// Some fields are limits and may exceed an int64. None of those is needed.
		if numbers[i], err = strconv.ParseInt(fields[i], 10, 64); errors.Is(err, strconv.ErrRange) {
			err = nil
		}
	}
	if err != nil {
		return d, u, false
	}
	d = Descendant{
		PID: pid, Name: string(data[open+1 : end]), State: fields[0][0],
		Parent: int(numbers[1]), Group: int(numbers[2]), start: uint64(numbers[19]),
	}
	u.CPU = time.Duration(numbers[11]+numbers[12]+numbers[13]+numbers[14]) * tick
	u.ResidentBytes = uint64(numbers[21]) * uint64(os.Getpagesize())
	return d, u, true
}

// Signal sends a signal to exactly this process. The pidfd refers to one process for good, and the
// start time that is read afterwards shows that the pid had not been reused before. Signal returns
// nil if the process is gone.
func (d Descendant) Signal(sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(d.PID, 0)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if now, ok := Read(d.PID); !ok || now.start != d.start {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && err != unix.ESRCH {
		return err
	}
	return nil
}
