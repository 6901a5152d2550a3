package doctor

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/gpulaunch/gpulaunch/launcher/internal/text"
)

// The oldest kernel: it has pidfds that can be waited for.
const oldestMajor, oldestMinor = 5, 4

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func kernel(f Facts) []Result {
	if f.KernelErr != nil {
		return one(untold("%v", f.KernelErr))
	}
	major, minor, ok := parseRelease(f.Kernel)
	switch {
	case !ok:
		return one(untold("Linux %q is not a version that can be read", f.Kernel))
	case major < oldestMajor || major == oldestMajor && minor < oldestMinor:
		return one(bad(Fail, "use a newer kernel", "Linux %s, and gpulaunch needs %d.%d", f.Kernel, oldestMajor, oldestMinor))
	}
	return one(good("Linux %s", f.Kernel))
}

// parseRelease reads how uname(2)'s release begins: "5.4.0-150-generic", "6.1-rc3".
func parseRelease(s string) (major, minor int, ok bool) {
	n, err := fmt.Sscanf(s, "%d.%d", &major, &minor)
	return major, minor, err == nil && n == 2 && major >= 0 && minor >= 0
}

// pidfd judges what gpulaunch waits with; sandboxes (gVisor, old seccomp profiles) may lack it.
func pidfd(f Facts) []Result {
	switch {
	case f.PidfdErr == nil:
		return one(good("processes can be waited for by pidfd"))
	case errors.Is(f.PidfdErr, errors.ErrUnsupported), errors.Is(f.PidfdErr, fs.ErrPermission):
		return one(bad(Fail, "use Linux 5.4 or newer; in a sandbox, allow pidfd_open, pidfd_send_signal and waitid", "pidfds cannot be used: %v", f.PidfdErr))
	}
	return one(untold("whether pidfds work could not be told: %v", f.PidfdErr))
}

func controlGroup(f Facts) []Result {
	switch {
	case f.Cgroup.Parent != "":
		return one(good("below %s", f.Cgroup.Parent))
	case f.Cgroup.Reason == "":
		return one(untold("whether a control group can be made is not known"))
	}
	return one(bad(Warn, "for one, start in a group of the user's own: systemd-run --user --scope -p Delegate=yes gpulaunch run …; without it, what workers start is ended one by one",
		"a job gets no control group: %s", f.Cgroup.Reason))
}

// python judges the interpreter of .py programs. Other programs do without.
func python(f Facts) []Result {
	chosen := f.variable("PYTHON_EXEC")
	switch {
	case f.PythonErr == nil && f.Python == "":
		return one(untold("which Python would run is not known"))
	case f.PythonErr == nil:
		return one(good("%s", f.Python))
	case chosen != "":
		return one(bad(Fail, "correct PYTHON_EXEC, or unset it for python3", "PYTHON_EXEC=%q: %v", chosen, f.PythonErr))
	}
	return one(bad(Warn, "install Python 3 or name an interpreter in PYTHON_EXEC, if jobs are Python programs", "%v", f.PythonErr))
}

func metricsAddress(f Facts) []Result {
	m := f.Metrics
	switch {
	case m.Address == "":
		return one(good("off"))
	case m.Err == nil:
		return one(good("%s is free", m.Address))
	case m.Chosen:
		return one(bad(Fail, "end what listens there, or choose another address", "metrics cannot be served on %s: %v", m.Address, m.Err))
	}
	return one(bad(Warn, "a job goes on without metrics; choose another address with --metrics-address, if another job has this one", "metrics cannot be served on %s: %v", m.Address, m.Err))
}

func temporaryFolder(f Facts) []Result {
	t := f.Temporary
	switch {
	case t.Err != nil:
		return one(bad(Warn, "set TMPDIR to a folder that can be written: workers cannot leave error files, and forkserver does not work", "no private folder can be made in %q: %v", t.Folder, t.Err))
	case t.Disk.Err != nil:
		return one(untold("%s can be written; its free space is not known: %v", t.Folder, t.Disk.Err))
	case t.Disk.Unused < smallDisk:
		return one(bad(Warn, "free some, or set TMPDIR to another folder", "%s has only %s left", t.Folder, size(t.Disk.Unused)))
	}
	return one(good("%s can be written, %s left", t.Folder, size(t.Disk.Unused)))
}

// plan is what all the others come to: what gpulaunch run would start, without flags but with their variables.
func plannedJob(f Facts) []Result {
	if f.PlanErr != nil {
		return one(bad(Fail, "correct that; gpulaunch plan shows whether it is gone", "no job would start: %v", f.PlanErr))
	}
	if len(f.Plan.Workers) == 0 {
		return one(untold("what would be started is not known"))
	}
	return one(good("gpulaunch run would start %s (mode %s)", text.Plural(len(f.Plan.Workers), "%d worker", "%d workers"), f.Plan.Mode))
}
