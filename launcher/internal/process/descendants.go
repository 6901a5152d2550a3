package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/text"
)

// Descendant is a process below this one.
type Descendant struct {
	PID  int
	Name string // the kernel's name of it, at most 15 bytes
	// State is the letter of proc(5): R, S, D, Z, T …
	State byte
	// Parent is the pid of its parent, Group its process group.
	Parent, Group int
	// start is the start time in clock ticks since boot: with the pid it names a
	// process for good.
	start uint64
}

func (d Descendant) String() string { return fmt.Sprintf("%d (%s)", d.PID, d.Name) }

// Where says what a process is doing that will not end: its state and the kernel
// function that it waits in, as "4711 (python3, state D in nfs_wait_bit_killable)".
// The kernel tells the function only to those who may trace the process.
func (d Descendant) Where() string {
	now, _, ok := Read(d.PID)
	if !ok {
		return d.String()
	}
	text := fmt.Sprintf("%d (%s, state %c", d.PID, d.Name, now.State)
	if channel, err := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", d.PID)); err == nil && len(channel) > 1 {
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
	head := text.Plural(len(list), "%d process", "%d processes")
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
		if d, parent, ok := Read(pid); ok && (spare == nil || !spare(pid)) {
			children[parent] = append(children[parent], d)
		}
	}
	list := children[root]
	for i := 0; i < len(list); i++ {
		list = append(list, children[list[i].PID]...)
	}
	return list, nil
}

// Read looks at one process and its parent; false when it is gone.
func Read(pid int) (d Descendant, parent int, ok bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return d, 0, false
	}
	return parseStat(data)
}

// parseStat takes the pid, name, state, parent, group and start time (fields 1 to 5
// and 22 of proc_pid_stat(5)). The name stands in parentheses and may itself hold
// parentheses, spaces and newlines, so its end is the last parenthesis.
func parseStat(data []byte) (d Descendant, parent int, ok bool) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 2 || end < open {
		return d, 0, false
	}
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) < 20 || len(fields[0]) != 1 {
		return d, 0, false
	}
	pid, err1 := strconv.Atoi(strings.TrimSpace(string(data[:open])))
	parent, err2 := strconv.Atoi(fields[1])
	group, err3 := strconv.Atoi(fields[2])
	start, err4 := strconv.ParseUint(fields[19], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		return d, 0, false
	}
	d = Descendant{PID: pid, Name: string(data[open+1 : end]), State: fields[0][0], Parent: parent, Group: group, start: start}
	return d, parent, true
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
	if now, _, ok := Read(d.PID); !ok || now.start != d.start {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && err != unix.ESRCH {
		return err
	}
	return nil
}
