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

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// prefix starts the name of every job's control group. The pid of the process that created the
// group and a number follow, so that two launchers choose different names.
const prefix = "gpulaunch-job-"

// Group is the control group of a job. As long as it is open, its folder is locked (flock(2)),
// which tells other launchers that the job has a launcher.
type Group struct {
	// Path is the group's folder.
	Path string
	dir  *os.File
}

// Make creates a control group below parent.
//
// announce is called with the group's path before the group exists. Another process that learns
// the path this way can remove the group if this one is killed.
func Make(parent string, announce func(path string)) (*Group, error) {
	for {
		name := fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), time.Now().UnixNano())
		path := filepath.Join(parent, name)
		announce(path)
		if err := os.Mkdir(path, 0o755); err != nil {
			return nil, err
		}
		g, err := openLocked(path)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return g, err
		}
		// Another launcher has taken the new group for abandoned, before it was locked.
	}
}

// openLocked opens and locks a new group. The error is fs.ErrNotExist if the group has been
// removed meanwhile.
func openLocked(path string) (*Group, error) {
	dir, err := os.Open(path)
	if err != nil {
		_ = os.Remove(path)
		return nil, err
	}
	_, err = process.RetryEINTR(func() (int, error) {
		return 0, unix.Flock(int(dir.Fd()), unix.LOCK_EX)
	})
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		dir.Close()
		_ = os.Remove(path)
		return nil, err
	}
	return &Group{Path: path, dir: dir}, nil
}

// FD returns a descriptor of the group's folder for SysProcAttr.CgroupFD (clone3(2),
// CLONE_INTO_CGROUP, since Linux 5.7).
func (g *Group) FD() int { return int(g.dir.Fd()) }

// Add moves a process into the group (cgroups(7), cgroup.procs).
func (g *Group) Add(pid int) error {
	return os.WriteFile(filepath.Join(g.Path, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

// Kill kills all members of the group at path and of the groups below it (cgroup.kill, since
// Linux 5.14). It reports false if the kernel is older or if path is "" or not a group.
func Kill(path string) bool {
	return path != "" && os.WriteFile(filepath.Join(path, "cgroup.kill"), []byte("1"), 0) == nil
}

// Remove removes the group at path and the empty groups below it. Members that have been killed
// take a moment to leave, so Remove tries again until limit has passed.
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
		// cgroup.events could be polled instead, but the members have been reaped by now, and
		// the kernel needs only a moment to let go of them.
		<-time.After(time.Millisecond)
	}
}

// removeTree removes a group after the groups below it. In a cgroup file system only folders
// can be removed, and the files in a folder go with it.
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

// Close closes the descriptor of the group's folder, and with it unlocks the group, which stays.
func (g *Group) Close() { g.dir.Close() }

// OOMKills returns how many members the kernel has killed because this group, or a group above
// it, ran out of memory (oom_kill in memory.events). known is false if the memory controller is
// not enabled, because nothing counts them then.
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
			n, err := strconv.ParseUint(text, 10, 63)
			if err == nil {
				return int(n)
			}
		}
	}
	return 0
}
