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
	// parallel is how many jobs run at the same time. They wait more than they work.
	parallel = 6
	patience = launchertest.Patience
	// margin is how long a job may take to end in addition to the grace period. It leaves room for
	// a loaded machine, and is far from longGrace.
	margin = 20 * time.Second
	// leftAfter is when a job counts the processes that are to be left.
	leftAfter = 2 * time.Second
)

// scenario describes a job and what happens to it.
type scenario struct {
	Binary  string        `json:"binary,omitempty"`
	Trees   []node        `json:"trees"` // one for each worker
	End     string        `json:"end,omitempty"`
	Grace   time.Duration `json:"grace"`
	Flags   []string      `json:"flags,omitempty"`
	Without string        `json:"without,omitempty"`
	Faults  []fault       `json:"faults"`
	// Within is how long the job may take to end. 0 means Grace plus margin.
	Within time.Duration `json:"within,omitempty"`
	// Status is the exit status of the launcher. 0 means the one that the last fault leads to.
	Status int `json:"status,omitempty"`
}

// fault is one thing that happens to a job, Delay after a moment.
type fault struct {
	Kind  kind          `json:"kind"`
	When  moment        `json:"when"`
	Delay time.Duration `json:"delay,omitempty"`
	Rank  int           `json:"rank,omitempty"`
	// Signals are what a burst sends: all of them in this order, again and again.
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
	killGroup      kind = "KILL to the launcher's process group"
	stopSupervisor kind = "STOP to the supervisor"
	stopKeeper     kind = "STOP to the keeper"
	contKeeper     kind = "CONT to the keeper"
	killWorker     kind = "KILL to a worker"
	stopWorker     kind = "STOP to a worker"
	endWorker      kind = "a worker ends by itself"
	endWorkers     kind = "all workers end by themselves"
	closeStdout    kind = "the reader of stdout leaves"
	hitBystander   kind = "USR1 to a bystander" // a negative control
)

type moment string

const (
	atOnce    moment = "after the start" // the job may not be complete
	whenReady moment = "after all is up"
	whenSaid  moment = "after the launcher said that it stops"
	next      moment = "after the one before"
	whenDead  moment = "after that worker's death"
	whenGone  moment = "after the end of all workers and their descendants"
	whenAgain moment = "after all is up once more"
)

// outcome is what a scenario led to.
type outcome struct {
	Exit    int           // the launcher's exit status, as a shell shows it
	Died    bool          // a signal has ended the launcher
	Took    time.Duration // from the last fault to the end of the last process
	Left    []string      // processes that are alive or were not waited for in time
	Workers int           // how many of these are workers
	Adopted int           // how many processes became children of the launcher's parent
	Touched []string      // what happened to bystanders
	Old     []string      // processes of the first attempt that were alive in the second one
	Cgroup  string        // the job's control group, or ""
	Remains []string      // control groups that still exist
	Files   []string      // temporary files that still exist
	Stderr  string
	Err     string // why the test itself did not work
}

// perform runs a scenario in a host of its own.
func perform(t testing.TB, s scenario) outcome {
	t.Helper()
	s.Binary = launchertest.Binary
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv, removePIDs := limited(t, append([]string{self}, asRole("host", encode(s))[1:]...))
	defer removePIDs()
	cmd := exec.Command(argv[0], argv[1:]...)
	tmp, err := os.MkdirTemp("", "gpulaunch-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	cmd.Env = hostEnv(tmp)
	group, remove := hostGroup(t)
	defer remove()
	// The host has a process group of its own: if the test's group is killed, the host must stay
	// alive to clean up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if group != nil {
		defer group.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	// When this pipe is closed, also because this process has died, the host cleans up.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out, err := cmd.Output()
	var o outcome
	if err == nil {
		err = json.Unmarshal(out, &o)
	}
	if err != nil {
		o.Err = fmt.Sprintf("the host failed: %v; %s%s", err, out, stderr.String())
	}
	o.Files, _ = filepath.Glob(filepath.Join(tmp, "*"))
	if group != nil {
		o.Remains = groupsIn(group.Name())
	}
	return o
}

// hostEnv returns an environment without the user's settings and GPUs.
func hostEnv(tmp string) []string {
	// By default, the race detector delays the end of each process by a second.
	env := []string{"CUDA_VISIBLE_DEVICES=", "TMPDIR=" + tmp, "GORACE=atexit_sleep_ms=0"}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		switch {
		case strings.HasPrefix(name, "GPULAUNCH_"):
		case name == "CUDA_VISIBLE_DEVICES", name == "TMPDIR", name == "GORACE":
		default:
			env = append(env, entry)
		}
	}
	return env
}

// performAll runs scenarios, some of them at the same time. It calls check with each outcome, one
// call after the other.
func performAll(t *testing.T, list []scenario, check func(i int, o outcome)) {
	t.Helper()
	var mu sync.Mutex
	var wait sync.WaitGroup
	indices := make(chan int)
	for range parallel {
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

// killedAtTheEnd reports whether the survivor of two processes of the launcher is killed while it
// may be removing files and control groups.
func (s scenario) killedAtTheEnd() bool { return s.Faults[len(s.Faults)-1].When == whenGone }

// problems returns what is wrong with an outcome. Every outcome must have none.
func (o outcome) problems(s scenario) (list []string) {
	if o.Err != "" {
		return []string{o.Err}
	}
	if len(o.Left) > 0 {
		list = append(list, fmt.Sprintf("processes are left after %s: %q", s.limit(), o.Left))
	}
	if o.Adopted > 0 && !o.Died {
		list = append(list, fmt.Sprintf("%d processes became children of the launcher's parent",
			o.Adopted))
	}
	if !s.documented(o.Exit) {
		list = append(list, fmt.Sprintf("exit status %d is not the documented one", o.Exit))
	}
	if len(o.Remains) > 0 && !s.killedAtTheEnd() {
		list = append(list, fmt.Sprintf("control groups still exist: %q", o.Remains))
	}
	// If the supervisor is killed right after it has created its temporary folder, the keeper
	// cannot know the folder's name.
	if len(o.Files) > 0 && s.Faults[0].When != atOnce && !s.killedAtTheEnd() {
		list = append(list, fmt.Sprintf("temporary files still exist: %q", o.Files))
	}
	if len(o.Old) > 0 {
		list = append(list, fmt.Sprintf("processes were alive at the next attempt: %q", o.Old))
	}
	return append(list, o.Touched...)
}
