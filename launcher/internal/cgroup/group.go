package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// prefix begins the name of each job's control group; the pid of the process that
// made it and a number follow.
const prefix = "gpulaunch-"

// Group is a job's control group.
type Group struct {
	// Path is its folder.
	Path string
	dir  *os.File
}

// Make makes a control group at the place. It also removes empty ones of
// launchers that were killed before they could. Whoever is to remove it if this
// process cannot hears of its path before it is there.
func Make(parent string, tell func(path string)) (*Group, error) {
	removeStale(parent)
	path := filepath.Join(parent, fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), time.Now().UnixNano()))
	tell(path)
	if err := os.Mkdir(path, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		_ = os.Remove(path)
		return nil, err
	}
	return &Group{Path: path, dir: dir}, nil
}

// removeStale tries to remove what dead launchers left. rmdir refuses a control
// group with members, so a living one's is safe even if its pid was reused.
func removeStale(parent string) {
	entries, err := filepath.Glob(filepath.Join(parent, prefix+"*"))
	if err != nil {
		return
	}
	for _, path := range entries {
		text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), prefix), "-")
		if pid, err := strconv.Atoi(text); err == nil && unix.Kill(pid, 0) == unix.ESRCH {
			_ = os.Remove(path)
		}
	}
}

// FD is the folder's descriptor, for SysProcAttr.CgroupFD (clone3(2),
// CLONE_INTO_CGROUP, since Linux 5.7).
func (g *Group) FD() int { return int(g.dir.Fd()) }

// Add moves a process into the group (cgroups(7), cgroup.procs).
func (g *Group) Add(pid int) error {
	return os.WriteFile(filepath.Join(g.Path, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

// Kill ends all members and those of groups below, at once (cgroup.kill, since
// Linux 5.14). False means that this kernel cannot, or that there is no group.
func Kill(path string) bool {
	return path != "" && os.WriteFile(filepath.Join(path, "cgroup.kill"), []byte("1"), 0) == nil
}

// Remove removes the group at path and empty groups below it. Members that have
// been killed take a moment to leave, hence the limit.
func Remove(path string, limit time.Duration) error {
	if path == "" {
		return nil
	}
	deadline := time.Now().Add(limit)
	for {
		err := removeTree(path)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		// cgroup.events could be waited for, but by now the members have been reaped
		// and only the kernel's own work is left.
		<-time.After(time.Millisecond)
	}
}

// removeTree removes groups from below; only folders can be removed in this
// file system, and removing one takes its files along.
func removeTree(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	return unix.Rmdir(path)
}

// Close closes the descriptor; the group stays.
func (g *Group) Close() { g.dir.Close() }

// OOMKills is how many members the kernel killed because the group, or one
// above it, was out of memory (memory.events). False when the memory controller is
// not there to count.
func (g *Group) OOMKills() (n int, known bool) {
	data, err := os.ReadFile(filepath.Join(g.Path, "memory.events"))
	if err != nil {
		return 0, false
	}
	return parseOOMKills(string(data)), true
}

func parseOOMKills(events string) int {
	for line := range strings.Lines(events) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			n, err := strconv.Atoi(text)
			if err == nil {
				return n
			}
		}
	}
	return 0
}
