package affinity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// CurrentAll returns the CPUs that each thread of a process may run on, by thread ID
// (/proc/PID/task, see proc_pid_task(5)). It leaves out threads that end in the meantime. If there
// is no such process, the error wraps ESRCH.
func CurrentAll(pid int) (map[int]CPUSet, error) {
	entries, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	if errors.Is(err, fs.ErrNotExist) {
		err = unix.ESRCH
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the threads of process %d: %w", pid, err)
	}
	threads := make(map[int]CPUSet, len(entries))
	for _, entry := range entries {
		tid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		cpus, err := Current(tid)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return nil, err
		}
		threads[tid] = cpus
	}
	if len(threads) == 0 {
		return nil, fmt.Errorf("cannot read the threads of process %d: %w", pid, unix.ESRCH)
	}
	return threads, nil
}
