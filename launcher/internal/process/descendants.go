package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
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

// ID identifies a process, even after its pid has been reused.
type ID struct {
	pid   int
	start uint64
}

// ID returns what identifies the process.
func (d Descendant) ID() ID { return ID{d.PID, d.start} }

// Usage says what a process has used so far.
type Usage struct {
	// CPU is the user and system time of the process and of those of its children that it has
	// waited for.
	CPU time.Duration
	// ResidentBytes is its resident memory.
	ResidentBytes uint64
}

func (d Descendant) String() string { return fmt.Sprintf("%d (%s)", d.PID, d.Name) }

// Descendants returns the descendants of the process root, according to /proc. Zombies are among
// them.
func Descendants(root int) ([]Descendant, error) { return DescendantsExcept(root, nil) }

// ErrOtherNamespace is the error if /proc shows the processes of another PID namespace, where the
// same numbers belong to other processes (pid_namespaces(7)).
var ErrOtherNamespace = errors.New("/proc shows another PID namespace: mount proc on /proc")

// CheckProc returns nil if /proc shows the PID namespace of this process, and otherwise
// ErrOtherNamespace or why that cannot be told.
func CheckProc() error {
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return err
	}
	if self != strconv.Itoa(os.Getpid()) {
		return ErrOtherNamespace
	}
	return nil
}

// procShowsUs reports whether /proc can be trusted, as CheckProc found it first.
var procShowsUs = sync.OnceValue(func() bool { return CheckProc() == nil })

// DescendantsExcept is Descendants without the processes for which spare returns true, and without
// their descendants. If spare is nil, none is left out.
func DescendantsExcept(root int, spare func(Descendant) bool) ([]Descendant, error) {
	if err := CheckProc(); err != nil {
		return nil, err
	}
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
		if d, ok := Read(pid); ok && (spare == nil || !spare(d)) {
			children[d.Parent] = append(children[d.Parent], d)
		}
	}
	list := children[root]
	for i := 0; i < len(list); i++ {
		list = append(list, children[list[i].PID]...)
	}
	return list, nil
}

// Adopted returns the children of this process that have lost their parents, and those that its
// first thread has started. It is much faster than Descendants: the kernel gives orphans to the
// first thread of a subreaper (find_new_reaper in the kernel's kernel/exit.c), whose children are
// in one file (proc_tid_children(5)).
func Adopted() (list []Descendant, err error) {
	pids, err := adoptedPIDs()
	for _, pid := range pids {
		if d, ok := Read(pid); ok {
			list = append(list, d)
		}
	}
	return list, err
}

// adoptedPIDs returns the pids of what Adopted returns.
func adoptedPIDs() (pids []int, err error) {
	if err := CheckProc(); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err != nil {
		return nil, err // a kernel without CONFIG_PROC_CHILDREN
	}
	for _, field := range strings.Fields(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// Read returns one process. ok is false if it is gone, and also if /proc shows another namespace.
func Read(pid int) (d Descendant, ok bool) {
	if !procShowsUs() {
		return d, false
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return d, false
	}
	d, _, ok = parseStat(data)
	return d, ok
}

// ReadUsage returns what a process has used so far. It reports false if the process is gone.
func ReadUsage(pid int) (Usage, bool) {
	if !procShowsUs() {
		return Usage{}, false
	}
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
