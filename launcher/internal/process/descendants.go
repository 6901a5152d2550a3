package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
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

// Signal sends a signal to exactly this process. The pidfd refers to one process for good, and the
// start time that is read afterwards shows that the pid had not been reused before. Where a filter
// of system calls denies pidfds (seccomp(2)), the start time alone has to do. Signal returns nil if
// the process is gone, and EPERM if it may not be signalled (kill(2)).
func (d Descendant) Signal(sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(d.PID, 0)
	switch {
	case err == unix.ESRCH:
		return nil
	case Denied(err):
		return d.signalPID(sig)
	case err != nil:
		return err
	}
	defer unix.Close(fd)
	if !d.same() {
		return nil
	}
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	switch {
	case err == unix.ESRCH:
		return nil
	case Denied(err):
		return d.signalPID(sig)
	}
	return err
}

// Denied reports whether an error from pidfd_open(2) or pidfd_send_signal(2) can mean that a filter
// denies the system call. EPERM from the latter can also mean that the process may not be signalled.
func Denied(err error) bool { return err == unix.EPERM || err == unix.ENOSYS || err == unix.EACCES }

// signalPID does what Signal does, without a pidfd. The pid could be reused between its two steps.
func (d Descendant) signalPID(sig syscall.Signal) error {
	if !d.same() {
		return nil
	}
	if err := unix.Kill(d.PID, sig); err != unix.ESRCH {
		return err
	}
	return nil
}

// same reports whether the pid still belongs to the process.
func (d Descendant) same() bool {
	now, ok := Read(d.PID)
	return ok && now.start == d.start
}
