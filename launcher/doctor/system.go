package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/gpulaunch/gpulaunch/launcher/plural"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// The oldest kernel on which gpulaunch runs. It is the first whose pidfds can be waited for.
const minMajor, minMinor = 5, 4

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func kernel(f Facts) []Result {
	if f.KernelErr != nil {
		return unknown("%v", f.KernelErr)
	}
	major, minor, readable := parseRelease(f.Kernel)
	switch {
	case !readable:
		return unknown("Linux %q: cannot read the version in that", f.Kernel)
	case major < minMajor || major == minMajor && minor < minMinor:
		return problem(Fail, "use a newer kernel",
			"Linux %s, and gpulaunch needs %d.%d", f.Kernel, minMajor, minMinor)
	}
	return ok("Linux %s", f.Kernel)
}

// parseRelease returns the version at the start of uname(2)'s release: "5.4.0-150-generic",
// "6.1-rc3".
func parseRelease(s string) (major, minor int, ok bool) {
	n, err := fmt.Sscanf(s, "%d.%d", &major, &minor)
	return major, minor, err == nil && n == 2 && major >= 0 && minor >= 0
}

// pidfd checks the system calls that gpulaunch waits with. Sandboxes such as gVisor or old seccomp
// profiles may lack them.
func pidfd(f Facts) []Result {
	switch {
	case f.PidfdErr == nil:
		return ok("pidfds work")
	case errors.Is(f.PidfdErr, errors.ErrUnsupported), errors.Is(f.PidfdErr, fs.ErrPermission):
		return problem(Warn,
			"in a sandbox, allow pidfd_open and pidfd_send_signal; without them it is uncertain "+
				"which of several forked workers failed first",
			"pidfds cannot be used: %v", f.PidfdErr)
	}
	return unknown("cannot tell whether pidfds work: %v", f.PidfdErr)
}

func controlGroup(f Facts) []Result {
	switch {
	case len(f.Abandoned) > 0:
		return problem(Warn, "run another job, which ends them first: gpulaunch run true",
			"%s whose launcher was killed: %s", plural.Of(len(f.Abandoned),
				"%d control group of a job", "%d control groups of jobs"),
			strings.Join(f.Abandoned, ", "))
	case f.Cgroup.Parent != "":
		return ok("below %s", f.Cgroup.Parent)
	case f.Cgroup.Reason == "":
		return unknown("whether a control group can be created is not known")
	}
	return problem(Warn,
		"start gpulaunch in a control group that the user owns: "+
			"systemd-run --user --scope -p Delegate=yes gpulaunch run …; without one, "+
			"processes that workers start are killed one by one",
		"a job gets no control group: %s", f.Cgroup.Reason)
}

// python checks the interpreter of .py programs. Other programs do not need one.
func python(f Facts) []Result {
	chosen := f.variable("PYTHON_EXEC")
	switch {
	case f.PythonErr == nil && f.Python == "":
		return unknown("which Python would run is not known")
	case f.PythonErr == nil:
		return ok("%s", f.Python)
	case chosen != "":
		return problem(Fail, "correct PYTHON_EXEC, or unset it to use python3",
			"PYTHON_EXEC=%q: %v", chosen, f.PythonErr)
	}
	return problem(Warn,
		"if jobs are Python programs, install Python 3 or name an interpreter in PYTHON_EXEC",
		"%v", f.PythonErr)
}

func metricsAddress(f Facts) []Result {
	m := f.Metrics
	const found = "cannot serve metrics on %s: %v"
	switch {
	case m.Address == "":
		return ok("off")
	case m.Err == nil:
		return ok("%s is free", m.Address)
	case m.Chosen:
		return problem(Fail, "stop the program that listens there, or choose another address",
			found, m.Address, m.Err)
	}
	return problem(Warn,
		"a job would run without metrics; if another job uses this address, "+
			"choose another one with --metrics-address",
		found, m.Address, m.Err)
}

func temporaryFolder(f Facts) []Result {
	t := f.Temporary
	switch {
	case t.Err != nil:
		return problem(Warn,
			"set TMPDIR to a folder that can be written to: without one, workers cannot leave "+
				"error files, and forkserver does not work",
			"cannot create a private folder in %q: %v", t.Folder, t.Err)
	case t.Disk.Err != nil:
		return unknown("%s can be written to; its free space is not known: %v",
			t.Folder, t.Disk.Err)
	case t.Disk.Unused < smallDisk:
		return problem(Warn, "free some space, or set TMPDIR to another folder",
			"%s has only %s left", t.Folder, terminal.Bytes(t.Disk.Unused))
	}
	return ok("%s can be written to, %s left", t.Folder, terminal.Bytes(t.Disk.Unused))
}

// plannedJob checks what gpulaunch run would start, without flags but with the variables that stand
// for flags.
func plannedJob(f Facts) []Result {
	if f.PlanErr != nil {
		return problem(Fail, "correct that, then check with gpulaunch plan",
			"no job would start: %v", f.PlanErr)
	}
	if len(f.Plan.Workers) == 0 {
		return unknown("what would be started is not known")
	}
	workers := plural.Of(len(f.Plan.Workers), "%d worker", "%d workers")
	return ok("gpulaunch run would start %s (mode %s)", workers, f.Plan.Mode)
}
