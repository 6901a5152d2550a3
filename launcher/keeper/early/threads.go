package early

import (
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// This file does without package strings, whose initialisation the start of a job would wait for.

// Each process makes its threads in advance. The Go runtime makes a new one when all that it has
// run or block in the kernel, and aborts the process if the kernel has no room for it; by then, the
// workers may have used it up. It keeps each thread once made.
//
// The keeper blocks in reading the link, in up to three writes to it and in waiting for signals;
// the supervisor also in writing output, in reading files that may hang, and in starting and
// waiting for processes.
const (
	keeperThreads     = 8
	supervisorThreads = 12
	// maxProcs is how many of the threads run Go code at the same time at most. Without it, garbage
	// collection starts as many threads as the machine has CPUs.
	maxProcs = 4
)

// reserveThreads makes sure that this process has n threads in addition to those that run Go code.
func reserveThreads(n int) {
	locked, release := make(chan struct{}), make(chan struct{})
	for range n {
		go func() {
			// A locked goroutine has a thread for itself, also while it waits.
			runtime.LockOSThread()
			locked <- struct{}{}
			<-release
			runtime.UnlockOSThread()
		}()
	}
	for range n {
		<-locked
	}
	close(release)
}

// limitProcs limits the threads that run Go code at the same time.
func limitProcs() {
	if runtime.GOMAXPROCS(0) > maxProcs {
		runtime.GOMAXPROCS(maxProcs)
	}
}

const (
	// nearby is how many more processes and threads have to have room for a limit to be far: more
	// than a job can start within reserveDelay.
	nearby = 16 << 10
	// reserveDelay is when a process makes its threads if all limits are far. A job that is over by
	// then does not pay for them.
	reserveDelay = 20 * time.Millisecond
)

// prepareThreads makes n threads: at once if a limit is near, because the workers may soon use up
// what it leaves, and otherwise after reserveDelay.
func prepareThreads(n int) {
	if threadsLimit(nearby) != "" {
		reserveThreads(n)
		return
	}
	time.AfterFunc(reserveDelay, func() {
		if threadsLimit(uint64(n)) == "" {
			reserveThreads(n)
		}
	})
}

// PrepareThreads makes the threads that a keeper needs.
func PrepareThreads() { prepareThreads(keeperThreads) }

// ReserveThreads makes them at once.
func ReserveThreads() { reserveThreads(keeperThreads) }

// threadsLimit returns what keeps this process from having n more threads, or "" if nothing that is
// known does. It compares the limits with what is used now.
func threadsLimit(n uint64) string {
	if full := pidsFull(n); full != "" {
		return full
	}
	if full := memoryFull(n); full != "" {
		return full
	}
	const nproc = 6 // RLIMIT_NPROC, which root is exempt from (setrlimit(2))
	var limit syscall.Rlimit
	var info syscall.Sysinfo_t
	if os.Geteuid() == 0 || syscall.Getrlimit(nproc, &limit) != nil || syscall.Sysinfo(&info) != nil {
		return ""
	}
	// All threads of the machine are no fewer than those of this user, who are tedious to count.
	if uint64(info.Procs)+n <= limit.Cur || userThreads()+n <= limit.Cur {
		return ""
	}
	return "ulimit -u is " + strconv.FormatUint(limit.Cur, 10)
}

// userThreads returns how many threads this user has, as far as /proc shows them.
func userThreads() (total uint64) {
	proc, err := os.Open("/proc")
	if err != nil {
		return 0
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	uid := strconv.Itoa(os.Getuid())
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		data, err := os.ReadFile("/proc/" + name + "/status")
		if err != nil {
			continue
		}
		// The first number is the real user id, whose processes are counted (proc_pid_status(5)).
		if field(string(data), "Uid:") == uid {
			n, _ := strconv.ParseUint(field(string(data), "Threads:"), 10, 64)
			total += n
		}
	}
	return total
}

// field returns the first word after a name at the beginning of a line.
func field(text, name string) string {
	for line := ""; text != ""; {
		line, text = cut(text, '\n')
		if len(line) < len(name) || line[:len(name)] != name {
			continue
		}
		for line = line[len(name):]; line != "" && line[0] <= ' '; {
			line = line[1:]
		}
		end := 0
		for end < len(line) && line[end] > ' ' {
			end++
		}
		return line[:end]
	}
	return ""
}

// cut returns what is before and after the first separator. Without one, all is before it.
func cut(text string, separator byte) (before, after string) {
	for i := range len(text) {
		if text[i] == separator {
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

// memoryFull returns the limit on this process's address space if that has no room for the stacks of
// n threads, which are as large as RLIMIT_STACK says (pthread_create(3)), and for the heaps of Go and
// of the C library.
func memoryFull(n uint64) string {
	const usual, heaps = 8 << 20, 1 << 30
	var space, stack syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_AS, &space) != nil || space.Cur == 1<<64-1 ||
		syscall.Getrlimit(syscall.RLIMIT_STACK, &stack) != nil {
		return ""
	}
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return ""
	}
	pages, _ := strconv.ParseUint(field(string(data), ""), 10, 64)
	size := stack.Cur
	if size == 1<<64-1 {
		size = usual
	}
	if pages*uint64(os.Getpagesize())+n*size+heaps <= space.Cur {
		return ""
	}
	return "ulimit -v is " + strconv.FormatUint(space.Cur>>10, 10)
}

// pidsFull returns the control group that has no room for n more threads, with its limit, or ""
// (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/pids.rst in the kernel's source). It looks
// where the hierarchies are usually mounted.
func pidsFull(n uint64) string {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line, rest := "", string(own); rest != ""; {
		line, rest = cut(rest, '\n')
		_, line = cut(line, ':')
		controllers, path := cut(line, ':')
		root := "/sys/fs/cgroup"
		switch controllers {
		case "":
		case "pids":
			root += "/pids"
		default:
			continue
		}
		for ; path != ""; path = parent(path) {
			file := root + path + "/pids.max"
			limit, known := readNumber(file)
			current, _ := readNumber(root + path + "/pids.current")
			if known && current+n > limit {
				return file + " is " + strconv.FormatUint(limit, 10)
			}
		}
	}
	return ""
}

// parent returns the path of the folder that contains path, or "" if that is the root.
func parent(path string) string {
	end := len(path) - 1
	for end > 0 && path[end] != '/' {
		end--
	}
	return path[:end]
}

// readNumber reads a file that has a number. It reports false for "max" and if there is none.
func readNumber(file string) (uint64, bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(field(string(data), ""), 10, 64)
	return n, err == nil
}
