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
	Name string `json:"name"` // the kernel's name of it, at most 15 bytes
	// State is the letter of proc(5): R, S, D, Z, T …
	State byte `json:"-"`
	// Parent is the pid of its parent, Group its process group.
	Parent int `json:"-"`
	Group  int `json:"-"`
	// start is the start time in clock ticks since boot: with the pid it names a
	// process for good.
	start uint64
}

// Usage is what a process has used so far.
type Usage struct {
	// CPU is user and system time of the process and of those of its children that it
	// waited for.
	CPU time.Duration
	// ResidentBytes is its resident memory.
	ResidentBytes uint64
}

func (d Descendant) String() string { return fmt.Sprintf("%d (%s)", d.PID, d.Name) }

// Where says what a process is doing that will not end: its state and the kernel
// function that it waits in, as "4711 (python3, state D in nfs_wait_bit_killable)".
// The kernel tells the function only to those who may trace the process.
func (d Descendant) Where() string {
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

// Listed names processes: "2 processes that they left behind: 12 (sh), 13 (sleep)".
func Listed(list []Descendant, what string) string { return listed(list, what, Descendant.String) }

// Stuck names processes that cannot be killed, and where they are.
func Stuck(list []Descendant) string {
	return listed(list, "cannot be killed", Descendant.Where)
}

func listed(list []Descendant, what string, name func(Descendant) string) string {
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

// Descendants lists the living processes below root by what /proc says of
// parenthood.
func Descendants(root int) ([]Descendant, error) { return DescendantsBut(root, nil) }

// DescendantsBut leaves out the processes that are spared, and all below them.
// A nil spare spares nobody.
func DescendantsBut(root int, spare func(pid int) bool) ([]Descendant, error) {
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

// Read looks at one process; false when it is gone.
func Read(pid int) (d Descendant, ok bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return d, false
	}
	d, _, ok = parseStat(data)
	return d, ok
}

// ReadUsage gives what a process has used so far; false when it is gone.
func ReadUsage(pid int) (Usage, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, false
	}
	_, u, ok := parseStat(data)
	return u, ok
}

// tick is the unit of the times in /proc/PID/stat, USER_HZ, which is 100 on every
// architecture that Go runs on under Linux (see time(7)).
const tick = time.Second / 100

// parseStat takes the pid, name, state, parent, group, times, start time and resident
// memory (fields 1 to 5, 14 to 17, 22 and 24 of proc_pid_stat(5)). The name stands in
// parentheses and may itself hold parentheses, spaces and newlines, so its end is the last
// parenthesis.
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
		// Limits may be above an int64, and none of those is needed.
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

// Signal reaches this very process or none: the pidfd holds on to it, and the
// start time read afterwards shows that the pid had not gone to another before.
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
