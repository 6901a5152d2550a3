package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Abandoned is the control group of a job whose launcher was killed before it could end the job.
type Abandoned struct {
	// Path is the group's folder.
	Path string
	// Members are the members of the group and of the groups below it.
	Members []process.Descendant
}

// leftBehind is a folder inside a group whose members were left behind on purpose and could not be
// moved out of the group.
const leftBehind = "left-behind"

// endLimit is how long the members of an abandoned group have to die.
const endLimit = time.Second

// FindAbandoned returns the abandoned groups of this user directly inside parent, and changes
// nothing. A launcher holds a lock on its group (flock(2)), so a group whose lock is free has none.
// The lock is the only sign: a pid in the name could belong to another PID namespace or to another
// process by now.
func FindAbandoned(parent string) []Abandoned {
	return eachAbandoned([]string{parent}, unix.LOCK_SH, func(Abandoned) error { return nil })
}

// FindAllAbandoned does what FindAbandoned does for the whole hierarchy that contains parent.
func FindAllAbandoned(parent string) []Abandoned {
	return eachAbandoned(hierarchy(parent), unix.LOCK_SH, func(Abandoned) error { return nil })
}

// EndAbandoned kills the members of the groups that FindAbandoned finds, and removes the groups. It
// returns the groups that had members.
func EndAbandoned(parent string) []Abandoned {
	return eachAbandoned([]string{parent}, unix.LOCK_EX, end)
}

// EndAllAbandoned does what EndAbandoned does for the whole hierarchy that contains parent.
func EndAllAbandoned(parent string) []Abandoned {
	return eachAbandoned(hierarchy(parent), unix.LOCK_EX, end)
}

// end ends one abandoned group.
func end(a Abandoned) error {
	if len(a.Members) > 0 && !Kill(a.Path) {
		return errors.New("cgroup.kill needs Linux 5.14 or newer")
	}
	return Remove(a.Path, endLimit)
}

// eachAbandoned calls act for each abandoned group in one of the parents, while it holds the
// group's lock. It returns those that had members and for which act returned nil.
func eachAbandoned(parents []string, lock int, act func(Abandoned) error) (list []Abandoned) {
	for _, parent := range parents {
		paths, _ := filepath.Glob(filepath.Join(escapeGlob(parent), prefix+"*"))
		for _, path := range paths {
			dir, ok := takeAbandoned(path, lock)
			if !ok {
				continue
			}
			a := Abandoned{Path: path}
			for _, pid := range Members(path) {
				d, _ := process.Read(pid)
				if d.PID = pid; pid == 0 {
					d.Name = "in another PID namespace"
				}
				a.Members = append(a.Members, d)
			}
			if err := act(a); err == nil && len(a.Members) > 0 {
				list = append(list, a)
			}
			dir.Close()
		}
	}
	return list
}

// takeAbandoned takes the lock of a group that belongs to this user and that no launcher has.
func takeAbandoned(path string, lock int) (dir *os.File, ok bool) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return nil, false
	}
	if st, known := info.Sys().(*syscall.Stat_t); !known || int(st.Uid) != os.Geteuid() {
		return nil, false
	}
	if _, err := os.Stat(filepath.Join(path, leftBehind)); err == nil {
		return nil, false
	}
	if dir, err = os.Open(path); err != nil {
		return nil, false
	}
	if err := unix.Flock(int(dir.Fd()), lock|unix.LOCK_NB); err != nil {
		dir.Close()
		return nil, false
	}
	return dir, true
}

// Members returns the members of the group at path and of the groups below it. A member in a PID
// namespace that this process does not see is 0 (cgroups(7)).
func Members(path string) (pids []int) {
	if path == "" {
		return nil
	}
	data, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
	for _, field := range strings.Fields(string(data)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		if e.IsDir() {
			pids = append(pids, Members(filepath.Join(path, e.Name()))...)
		}
	}
	return pids
}

// hierarchy returns the groups of the hierarchy that contains the group at path, from the top down,
// as far as the mount shows them. A job's own groups are not among them.
func hierarchy(path string) []string {
	isGroup := func(path string) bool {
		return unix.Access(filepath.Join(path, "cgroup.procs"), unix.F_OK) == nil
	}
	for isGroup(filepath.Dir(path)) {
		path = filepath.Dir(path)
	}
	list := []string{path}
	for i := 0; i < len(list); i++ {
		entries, _ := os.ReadDir(list[i]) // others' groups may be unreadable
		for _, e := range entries {
			if e.IsDir() && !strings.HasPrefix(e.Name(), prefix) {
				list = append(list, filepath.Join(list[i], e.Name()))
			}
		}
	}
	return list
}

// escapeGlob quotes what has a meaning in a pattern of filepath.Glob.
func escapeGlob(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(path)
}

// Release lets the members of the group live on after the launcher's end: it moves them to the
// group that contains this one and removes the group. Members that may not be moved keep the group,
// which then is marked, so that nobody takes it for abandoned.
func (g *Group) Release() {
	outside := &Group{Path: filepath.Dir(g.Path)}
	for range 100 { // a member may fork before it is moved
		for _, pid := range Members(g.Path) {
			_ = outside.Add(pid) // one that has ended cannot be moved
		}
		if err := removeTree(g.Path); err == nil || !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	if len(Members(g.Path)) > 0 {
		_ = os.Mkdir(filepath.Join(g.Path, leftBehind), 0o755)
	}
}
