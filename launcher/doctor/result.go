package doctor

import (
	"fmt"
	"slices"
)

// Status is what came of a check.
type Status string

// What can come of one.
const (
	OK      Status = "ok"
	Warn    Status = "warn"
	Fail    Status = "fail"
	Unknown Status = "unknown"
)

// Result is one thing that was checked.
type Result struct {
	// Area is what it is about, such as "limits", and Check which of its checks it was, such as "nofile".
	Area   string `json:"area"`
	Check  string `json:"check"`
	Status Status `json:"status"`
	// Found is one line that says what was found, with the value.
	Found string `json:"found"`
	// Remedy is one line that says what to do. Warn and Fail have one always.
	Remedy string `json:"remedy,omitempty"`
}

// checks are all there are, in the order in which they are shown.
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

// Examine does all checks. One that has nothing to look at, such as the health of GPUs where there are none, gives no
// result.
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

// Ready reports whether a job would start well.
func Ready(results []Result) bool {
	return !slices.ContainsFunc(results, func(r Result) bool { return r.Status == Fail })
}

func good(format string, args ...any) Result {
	return Result{Status: OK, Found: fmt.Sprintf(format, args...)}
}

// untold is for what could not be found out.
func untold(format string, args ...any) Result {
	return Result{Status: Unknown, Found: fmt.Sprintf(format, args...)}
}

func bad(status Status, remedy, format string, args ...any) Result {
	return Result{Status: status, Found: fmt.Sprintf(format, args...), Remedy: remedy}
}

func one(r Result) []Result { return []Result{r} }
