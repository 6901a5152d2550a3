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
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// Job is a gpulaunch command that was started by a test. It is stopped when the test ends.
//
// One goroutine per Job copies the standard output and then waits for the command. It ends with
// the last process that holds the output open.
type Job struct {
	t              testing.TB
	cmd            *exec.Cmd
	stdout, stderr Buffer
	awaited        int // how many bytes of stdout Await has looked at
	ended          chan struct{}
}

// Start starts gpulaunch with the arguments, and with variables that are added to the
// environment. A job runs without metrics unless the arguments ask for them.
func Start(t testing.TB, env []string, args ...string) *Job {
	t.Helper()
	return StartWithInput(t, nil, env, args...)
}

// StartWithInput does what [Start] does for a job with a standard input.
func StartWithInput(t testing.TB, stdin io.Reader, env []string, args ...string) *Job {
	t.Helper()
	if args[0] == "run" && !strings.Contains(strings.Join(args, " "), "--metrics-address") {
		args = slices.Insert(slices.Clone(args), 1, "--metrics-address=off")
	}
	return StartCommand(t, stdin, env, append([]string{Binary}, args...)...)
}

// StartCommand starts any command that executes gpulaunch in its own place, by exec.
func StartCommand(t testing.TB, stdin io.Reader, env []string, argv ...string) *Job {
	t.Helper()
	j := &Job{t: t, cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{})}
	j.cmd.Env, j.cmd.Stdin, j.cmd.Stderr = append(cleanEnv(), env...), stdin, &j.stderr
	out, err := j.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(j.ended)
		j.copyLines(out)
		_ = j.cmd.Wait()
		j.stderr.end()
	}()
	t.Cleanup(j.stop)
	return j
}

// copyLines copies the standard output, and ends each line, also the last one, with a newline
// alone.
func (j *Job) copyLines(out io.Reader) {
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
			fmt.Fprintln(&j.stdout, line)
		}
		if err != nil {
			j.stdout.end()
			return
		}
	}
}

// stop stops a job that still runs: the keeper takes all of it along. The second signal ends the
// grace period.
func (j *Job) stop() {
	select {
	case <-j.ended:
	default:
		_ = j.cmd.Process.Signal(unix.SIGTERM)
		_ = j.cmd.Process.Signal(unix.SIGCONT) // a suspended job could not act on SIGTERM
		AwaitSignalWindow()
		_ = j.cmd.Process.Signal(unix.SIGTERM)
		<-j.ended
	}
}

// AwaitSignalWindow waits so long that the keeper takes the next signal for another request. It
// takes signals that arrive within 300 ms for one.
func AwaitSignalWindow() { <-time.After(350 * time.Millisecond) }

// cleanEnv returns the environment without the variables that tests set on purpose.
func cleanEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return strings.HasPrefix(name, "GPULAUNCH_") ||
			name == "CUDA_VISIBLE_DEVICES" || name == "OMP_NUM_THREADS"
	})
}

// Output returns what has been written so far.
func (j *Job) Output() (stdout, stderr string) { return j.stdout.String(), j.stderr.String() }

// Await waits until n lines of the standard output match a pattern. For each of them it returns
// the text of the pattern's last group, or of the whole match if the pattern has no groups. A
// later call goes on behind the last of these lines.
func (j *Job) Await(n int, pattern string) (found []string) {
	j.t.Helper()
	re := regexp.MustCompile(pattern)
	ok := j.stdout.until(func(text []byte) bool {
		for len(found) < n {
			line, _, complete := bytes.Cut(text[j.awaited:], []byte("\n"))
			if !complete {
				return false
			}
			j.awaited += len(line) + 1
			if m := re.FindSubmatch(line); m != nil {
				found = append(found, string(m[len(m)-1]))
			}
		}
		return true
	})
	if !ok {
		j.t.Fatalf("%d of %d lines that match %s were written %s; %s",
			len(found), n, pattern, j.stdout.limit(), j.said())
	}
	return found
}

// AwaitStderr waits until the standard error contains text, and returns all of it.
func (j *Job) AwaitStderr(text string) string {
	j.t.Helper()
	if !j.stderr.Until(func(all string) bool { return strings.Contains(all, text) }) {
		j.t.Fatalf("%q was not written to the standard error %s; %s",
			text, j.stderr.limit(), j.said())
	}
	return j.stderr.String()
}

// Exit waits for the end of the job, and returns its exit code and its standard error.
func (j *Job) Exit() (code int, stderr string) {
	j.t.Helper()
	select {
	case <-j.ended:
	case <-time.After(Patience):
		j.t.Fatalf("the job has not ended within %s; %s", Patience, j.said())
	}
	return j.cmd.ProcessState.ExitCode(), j.stderr.String()
}

// said quotes the job's output for a failure.
func (j *Job) said() string {
	stdout, stderr := j.Output()
	return fmt.Sprintf("stdout:\n%s\nstderr:\n%s", stdout, stderr)
}

// CPU returns how much processor time all processes of the job have used. Call it after Exit.
func (j *Job) CPU() time.Duration {
	return j.cmd.ProcessState.UserTime() + j.cmd.ProcessState.SystemTime()
}

// Signal sends a signal to the process that a user would have started, the keeper.
func (j *Job) Signal(sig syscall.Signal) {
	j.t.Helper()
	if err := j.cmd.Process.Signal(sig); err != nil {
		j.t.Fatalf("cannot send %s to the keeper: %v", unix.SignalName(sig), err)
	}
}

// Keeper returns the pid of the process that was started.
func (j *Job) Keeper() int { return j.cmd.Process.Pid }

// Supervisor returns the pid of the keeper's only child.
func (j *Job) Supervisor() int {
	j.t.Helper()
	pid := j.Keeper()
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)); err != nil {
		nvmltest.Unavailable(j.t, fmt.Sprintf("this kernel does not list children: %v", err))
	}
	children := Children(pid)
	if len(children) != 1 {
		j.t.Fatalf("the keeper (process %d) has the children %v, want one", pid, children)
	}
	return children[0]
}
