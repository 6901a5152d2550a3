//go:build linux

package launchertest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// Job is a running gpulaunch.
type Job struct {
	t     testing.TB
	cmd   *exec.Cmd
	lines chan string // of its standard output
	ended chan struct{}

	mu             sync.Mutex
	stdout, stderr bytes.Buffer
}

// Start starts gpulaunch with metrics off, unless the arguments turn them on.
func Start(t testing.TB, env []string, args ...string) *Job {
	t.Helper()
	return StartWithInput(t, nil, env, args...)
}

// StartWithInput is start with a standard input.
func StartWithInput(t testing.TB, stdin io.Reader, env []string, args ...string) *Job {
	t.Helper()
	if args[0] == "run" && !strings.Contains(strings.Join(args, " "), "--metrics-address") {
		args = slices.Insert(slices.Clone(args), 1, "--metrics-address=off")
	}
	return StartCommand(t, stdin, env, append([]string{Binary}, args...)...)
}

// StartCommand starts a command that becomes gpulaunch, by exec.
func StartCommand(t testing.TB, stdin io.Reader, env []string, argv ...string) *Job {
	t.Helper()
	j := &Job{t: t, cmd: exec.Command(argv[0], argv[1:]...), lines: make(chan string, 1000), ended: make(chan struct{})}
	j.cmd.Env, j.cmd.Stdin = append(cleanEnv(), env...), stdin
	j.cmd.Stderr = &lockedWriter{j, &j.stderr}
	out, err := j.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(j.ended)
		in := bufio.NewScanner(out)
		for in.Scan() {
			fmt.Fprintln(&lockedWriter{j, &j.stdout}, in.Text())
			j.lines <- in.Text()
		}
		close(j.lines)
		_ = j.cmd.Wait()
	}()
	t.Cleanup(func() {
		// The keeper's end takes the job along; two signals, so that nobody's
		// grace period is waited for.
		select {
		case <-j.ended:
		default:
			_ = j.cmd.Process.Signal(unix.SIGTERM)
			_ = j.cmd.Process.Signal(unix.SIGCONT) // a stopped one acts on nothing
			AnotherWish()
			_ = j.cmd.Process.Signal(unix.SIGTERM)
			<-j.ended
		}
	})
	return j
}

// AnotherWish waits until a further signal counts as a further wish: the keeper
// takes those that come within 300 ms for one.
func AnotherWish() { <-time.After(350 * time.Millisecond) }

// cleanEnv is the environment without what the tests themselves set.
func cleanEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, "GPULAUNCH_") || strings.HasPrefix(e, "CUDA_VISIBLE_DEVICES=") || strings.HasPrefix(e, "OMP_NUM_THREADS=")
	})
}

type lockedWriter struct {
	j *Job
	w io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.j.mu.Lock()
	defer l.j.mu.Unlock()
	return l.w.Write(p)
}

func (j *Job) Output() (stdout, stderr string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stdout.String(), j.stderr.String()
}

// Await reads lines until n of them match, and gives the first groups.
func (j *Job) Await(n int, pattern string) []string {
	j.t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(Patience)
	var found []string
	for len(found) < n {
		select {
		case line, ok := <-j.lines:
			if !ok {
				_, stderr := j.Output()
				j.t.Fatalf("the job ended after %d of %d lines like %s; stderr:\n%s", len(found), n, pattern, stderr)
			}
			if m := re.FindStringSubmatch(line); m != nil {
				found = append(found, m[len(m)-1])
			}
		case <-deadline:
			stdout, stderr := j.Output()
			j.t.Fatalf("%d of %d lines like %s within %s; stdout:\n%s\nstderr:\n%s", len(found), n, pattern, Patience, stdout, stderr)
		}
	}
	return found
}

// Exit waits for the end and gives the exit code and standard error.
func (j *Job) Exit() (code int, stderr string) {
	j.t.Helper()
	select {
	case <-j.ended:
	case <-time.After(Patience):
		stdout, stderr := j.Output()
		j.t.Fatalf("still running after %s; stdout:\n%s\nstderr:\n%s", Patience, stdout, stderr)
	}
	_, stderr = j.Output()
	return j.cmd.ProcessState.ExitCode(), stderr
}

// CPU is how much processor time the whole job has used; call it after Exit.
func (j *Job) CPU() time.Duration {
	return j.cmd.ProcessState.UserTime() + j.cmd.ProcessState.SystemTime()
}

// Signal sends a signal to the process that the user started.
func (j *Job) Signal(sig syscall.Signal) {
	j.t.Helper()
	if err := j.cmd.Process.Signal(sig); err != nil {
		j.t.Fatal(err)
	}
}

// Keeper gives the pid of the process that was started.
func (j *Job) Keeper() int { return j.cmd.Process.Pid }

// Supervisor gives the pid of the keeper's only child.
func (j *Job) Supervisor() int {
	j.t.Helper()
	pid := j.Keeper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		nvmltest.Unavailable(j.t, fmt.Sprintf("this kernel does not list children: %v", err))
	}
	children := strings.Fields(string(data))
	if len(children) != 1 {
		j.t.Fatalf("the keeper has the children %q, not one", children)
	}
	child, _ := strconv.Atoi(children[0])
	return child
}

// AwaitStderr waits until the launcher has said something, and gives all that
// it has said.
func (j *Job) AwaitStderr(text string) string {
	j.t.Helper()
	for deadline := time.Now().Add(Patience); ; runtime.Gosched() {
		_, stderr := j.Output()
		if strings.Contains(stderr, text) {
			return stderr
		}
		if time.Now().After(deadline) {
			j.t.Fatalf("no %q in stderr:\n%s", text, stderr)
		}
	}
}
