//go:build linux

package forkserver

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// anonymous returns how many bytes of anonymous memory a process has, or 0 if that cannot be read.
func anonymous(pid int) int64 {
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	return parseAnonymous(string(rollup))
}

// parseAnonymous finds the line "Anonymous:  1234 kB" (proc_pid_smaps(5)).
func parseAnonymous(rollup string) int64 {
	for line := range strings.Lines(rollup) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "Anonymous:" || fields[2] != "kB" {
			continue
		}
		if n, err := strconv.ParseInt(fields[1], 10, 54); err == nil && n >= 0 {
			return n << 10
		}
	}
	return 0
}
