//go:build linux

package chaos

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

const (
	// atATime is how many jobs run side by side: they wait more than they work.
	atATime  = 6
	patience = launchertest.Patience
	// margin is what the end of a job may take beyond the grace period.
	margin = 2 * time.Second
)

// scenario is one job and what is done to it.
type scenario struct {
	Binary  string        `json:"binary,omitempty"`
	Trees   []node        `json:"trees"` // one for each worker
	End     string        `json:"end,omitempty"`
	Grace   time.Duration `json:"grace"`
	Flags   []string      `json:"flags,omitempty"`
	Without string        `json:"without,omitempty"`
	Faults  []fault       `json:"faults"`
	// Within is how long the end may take; 0 means Grace and margin.
	Within time.Duration `json:"within,omitempty"`
	// Status is the launcher's exit status; 0 means what the last fault asks for.
	Status int `json:"status,omitempty"`
}

// fault is one thing that is done to the job, when the moment has come and Delay
// has passed.
type fault struct {
	Kind  kind          `json:"kind"`
	When  moment        `json:"when"`
	Delay time.Duration `json:"delay,omitempty"`
	Rank  int           `json:"rank,omitempty"`
	// Signals are sent in this order by a burst, again and again.
	Signals []int `json:"signals,omitempty"`
}

type kind string

const (
	sendTERM       kind = "TERM to the launcher"
	sendINT        kind = "INT to the launcher"
	sendHUP        kind = "HUP to the launcher"
	burst          kind = "burst of signals to the launcher"
	killKeeper     kind = "KILL to the keeper"
	killSupervisor kind = "KILL to the supervisor"
	killBoth       kind = "KILL to keeper and supervisor"
	killWorker     kind = "KILL to a worker"
	stopWorker     kind = "STOP to a worker"
	endWorker      kind = "a worker ends by itself"
	endWorkers     kind = "all workers end by themselves"
	closeStdout    kind = "the reader of stdout leaves"
	hitBystander   kind = "USR1 to a bystander" // shows that this is noticed
)

type moment string

const (
	atOnce    moment = "after the start" // some of the job may not be there yet
	whenReady moment = "after all is up"
	whenSaid  moment = "after the launcher said that it stops"
	next      moment = "after the one before"
	whenDead  moment = "after that worker's death"
	whenAgain moment = "after all is up once more"
)

// outcome is what became of it.
type outcome struct {
	Exit    int           // as a shell shows it
	Died    bool          // the launcher was ended by a signal
	Took    time.Duration // from the last fault to the last process's end
	Left    []string      // alive, or dead and not waited for, after the time allowed
	Adopted int           // processes that came to the launcher's parent
	Touched []string      // bystanders
	Old     []string      // of an attempt, alive when the next one had begun
	Cgroup  string        // the job's own, if any
	Remains []string      // control groups that are still there
	Files   []string      // temporary ones
	Stderr  string
	Err     string // the test itself did not work
	Workers int    // of Left
}

// perform runs a scenario in a host of its own.
func perform(t testing.TB, s scenario) outcome {
	t.Helper()
	s.Binary = launchertest.Binary
	argv := asRole("host", encode(s))
	cmd := exec.Command(os.Args[0], argv[1:]...)
	tmp, err := os.MkdirTemp("", "gpulaunch-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	cmd.Env = hostEnv(tmp)
	group, remove := hostGroup(t)
	defer remove()
	// A group of its own: what ends the test by its group is for a host to clean up
	// after, not to die of.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if group != nil {
		defer group.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	// Its end tells a host to clean up, also when this process dies.
	leash, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer leash.Close()
	out, err := cmd.Output()
	var o outcome
	if err == nil {
		err = json.Unmarshal(out, &o)
	}
	if err != nil {
		o.Err = fmt.Sprintf("host: %v; %s%s", err, out, stderr.String())
	}
	o.Files, _ = filepath.Glob(filepath.Join(tmp, "*"))
	if group != nil {
		o.Remains = groupsIn(group.Name())
	}
	return o
}

// hostEnv keeps a user's settings, and GPUs, away from the job.
func hostEnv(tmp string) []string {
	// With the race detector each process takes a second to end, unless told not to.
	env := []string{"CUDA_VISIBLE_DEVICES=", "TMPDIR=" + tmp, "GORACE=atexit_sleep_ms=0"}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "GPULAUNCH_") && name != "CUDA_VISIBLE_DEVICES" && name != "TMPDIR" && name != "GORACE" {
			env = append(env, entry)
		}
	}
	return env
}

// performAll runs scenarios, a few at a time, and hands each outcome to check as
// it comes, one after the other.
func performAll(t *testing.T, list []scenario, check func(i int, o outcome)) {
	t.Helper()
	var mu sync.Mutex
	var wait sync.WaitGroup
	indices := make(chan int)
	for range atATime {
		wait.Go(func() {
			for i := range indices {
				o := perform(t, list[i])
				mu.Lock()
				check(i, o)
				mu.Unlock()
			}
		})
	}
	for i := range list {
		indices <- i
	}
	close(indices)
	wait.Wait()
}

// problems are the ways in which an outcome is not what every outcome must be.
func (o outcome) problems(s scenario) (list []string) {
	if o.Err != "" {
		return []string{o.Err}
	}
	if len(o.Left) > 0 {
		list = append(list, fmt.Sprintf("left after %s: %q", s.limit(), o.Left))
	}
	if o.Adopted > 0 && !o.Died {
		list = append(list, fmt.Sprintf("%d processes came to the launcher's parent", o.Adopted))
	}
	if !s.documented(o.Exit) {
		list = append(list, fmt.Sprintf("exit status %d is not the documented one", o.Exit))
	}
	if len(o.Remains) > 0 {
		list = append(list, fmt.Sprintf("control groups are still there: %q", o.Remains))
	}
	// A launcher that is killed while it comes up may not have told its other
	// half of a folder whose name the system chose.
	if len(o.Files) > 0 && s.Faults[0].When != atOnce {
		list = append(list, fmt.Sprintf("files are still there: %q", o.Files))
	}
	if len(o.Old) > 0 {
		list = append(list, fmt.Sprintf("there at the next attempt: %q", o.Old))
	}
	return append(list, o.Touched...)
}
