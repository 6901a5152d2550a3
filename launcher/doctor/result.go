package doctor

import (
	"fmt"
	"slices"
)

// Status is the outcome of a check.
type Status string

// The outcomes of checks.
const (
	OK      Status = "ok"
	Warn    Status = "warn"
	Fail    Status = "fail"
	Unknown Status = "unknown"
)

// Result is what one check found out about one thing. A check can have several results.
type Result struct {
	// Area is what the check belongs to, such as "limits", and Check is its name in there, such
	// as "nofile".
	Area   string `json:"area"`
	Check  string `json:"check"`
	Status Status `json:"status"`
	// Found says in one line what was found, with the value.
	Found string `json:"found"`
	// Remedy says in one line what to do. It is empty unless Status is Warn or Fail.
	Remedy string `json:"remedy,omitempty"`
}

// checks lists all checks in the order in which their results are shown.
var checks = []struct {
	area, name string
	examine    func(Facts) []Result
}{
	{"driver", "discovery", discovery},
	{"driver", "versions", versions},
	{"driver", "device-files", deviceFiles},
	{"gpus", "health", health},
	{"gpus", "mig", mig},
	{"gpus", "busy", busy},
	{"gpus", "persistence", persistence},
	{"gpus", "compute-mode", computeMode},
	{"cpus", "topology", topology},
	{"cpus", "allowed", allowedCPUs},
	{"cpus", "quota", quota},
	{"cpus", "locality", locality},
	{"system", "kernel", kernel},
	{"system", "pidfd", pidfd},
	{"system", "cgroup", controlGroup},
	{"system", "python", python},
	{"system", "metrics", metricsAddress},
	{"system", "tmpdir", temporaryFolder},
	{"limits", "memlock", lockedMemory},
	{"limits", "nofile", openFiles},
	{"limits", "nproc", processes},
	{"limits", "shm", sharedMemory},
	{"environment", "visible-devices", visibleDevices},
	{"environment", "variables", variables},
	{"job", "plan", plannedJob},
}

// Examine runs all checks. A check that does not apply, such as the health of GPUs on a machine
// without any, has no result.
func Examine(f Facts) []Result {
	var all []Result
	for _, c := range checks {
		for _, r := range c.examine(f) {
			r.Area, r.Check = c.area, c.name
			all = append(all, r)
		}
	}
	return all
}

// Ready reports whether a job would start well: whether no check failed.
func Ready(results []Result) bool {
	return !slices.ContainsFunc(results, func(r Result) bool { return r.Status == Fail })
}

// ok returns the result of a check that found nothing wrong.
func ok(format string, args ...any) []Result {
	return []Result{{Status: OK, Found: fmt.Sprintf(format, args...)}}
}

// unknown returns the result of a check whose facts could not be read.
func unknown(format string, args ...any) []Result {
	return []Result{{Status: Unknown, Found: fmt.Sprintf(format, args...)}}
}

// problem returns the result of a check that found something wrong.
func problem(status Status, remedy, format string, args ...any) []Result {
	return []Result{{Status: status, Found: fmt.Sprintf(format, args...), Remedy: remedy}}
}
