package keeper

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
	"github.com/gpulaunch/gpulaunch/launcher/keeper/early"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// roleArg makes the test binary play a role instead of running tests. Package early starts the
// supervisor from the same binary with a first argument of its own.
const roleArg = "gpulaunch-keeper-test"

// init plays the role before the tests begin, on the main thread, as the command does.
func init() {
	if c, ok := early.ParseCommand(os.Args); ok {
		os.Exit(superviseMain(c.Args))
	}
	if len(os.Args) < 3 || os.Args[1] != roleArg {
		return
	}
	switch os.Args[2] {
	case "keeper":
		s := early.Begin(os.Args[3:])
		os.Exit(New(s).Run())
	case "forward-as-first-process":
		fmt.Println(forwarded(&Keeper{}, unix.SIGTSTP))
		os.Exit(0)
	case "suspend":
		os.Exit(suspendMain(os.Args[3:]))
	case "member", "bystander":
		announceAndBlock(os.Args[2])
	}
}

// asRole returns a command that plays a role in a session of its own, without a terminal.
func asRole(role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", append([]string{roleArg, role}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// announceAndBlock prints a word and this process's id and does not return. Only SIGKILL ends it.
func announceAndBlock(word string) {
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)
	fmt.Println(word, os.Getpid())
	for {
		_ = unix.Pause()
	}
}

// superviseMain plays a supervisor. Each argument is something that it does:
//
//	member     starts a process that does not end by itself, and waits until it is there
//	say WORDS  writes WORDS to the keeper
//	listen     prints "up", and "listening" once the keeper has passed on a SIGUSR1
//	read N     waits for N bytes from the keeper and prints those that are no SIGUSR1 as numbers
//	take N     takes N milliseconds and says so
//	block      does not return
//	exit N     exits with code N
//	die N      dies of signal N, of SIGKILL if there is none
func superviseMain(args []string) int {
	linkFD, _ := strconv.Atoi(os.Args[2])
	unix.CloseOnExec(linkFD)
	keeper := os.NewFile(uintptr(linkFD), "link to the keeper")
	for _, arg := range args {
		verb, about, _ := strings.Cut(arg, " ")
		n, _ := strconv.Atoi(about)
		switch verb {
		case "member":
			startMember()
		case "say":
			fmt.Fprintln(keeper, about)
		case "listen":
			fmt.Println("up", os.Getpid())
			_, _ = keeper.Read(make([]byte, 1))
			fmt.Println("listening")
		case "read":
			for got := make([]byte, 1); n > 0; {
				if _, err := keeper.Read(got); err != nil {
					return 2
				}
				if got[0] != byte(unix.SIGUSR1) {
					fmt.Println("got", got[0])
					n--
				}
			}
		case "take":
			<-time.After(time.Duration(n) * time.Millisecond)
			fmt.Println("has taken", n)
		case "block":
			for {
				_ = unix.Pause()
			}
		case "exit":
			return n
		case "die":
			_ = unix.Kill(os.Getpid(), syscall.Signal(max(n, int(unix.SIGKILL))))
			for {
				_ = unix.Pause() // until the signal acts
			}
		}
	}
	return 0
}

// startMember starts a process of the job, whose announcement goes to the standard output.
func startMember() {
	cmd := asRole("member")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		panic(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	fmt.Print(line)
}

// job is a keeper that runs in a process of its own, with a supervisor that superviseMain plays.
type job struct {
	cmd            *exec.Cmd
	stdout, stderr launchertest.Buffer
	pipes          [2]*os.File // written to by the job's processes and, at the end, by exit
}

// theEnd is what exit writes behind what the job has written.
const theEnd = "--- the end\n"

// said returns what the job has written to the standard error.
func (j *job) said() string { return strings.TrimSuffix(j.stderr.String(), theEnd) }

// startJob starts a keeper whose supervisor does what the arguments say.
func startJob(t *testing.T, supervisor ...string) *job {
	t.Helper()
	return startKeeper(t, asRole("keeper", supervisor...))
}

// startKeeper starts a command that is a keeper or becomes one.
func startKeeper(t *testing.T, cmd *exec.Cmd) *job {
	t.Helper()
	j := &job{cmd: cmd}
	for i, to := range []*launchertest.Buffer{&j.stdout, &j.stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close() })
		// This ends with the last process that has the pipe.
		go func() { defer r.Close(); _, _ = io.Copy(to, r) }()
		j.pipes[i] = w
	}
	j.cmd.Stdout, j.cmd.Stderr = j.pipes[0], j.pipes[1]
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if j.cmd.ProcessState == nil {
			_ = j.cmd.Process.Kill()
			_ = j.cmd.Wait()
		}
		if pid := j.member(); pid > 0 && unix.Kill(pid, 0) == nil {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	})
	return j
}

// exit waits for the keeper's end and for all that has been written until then, and returns its
// exit code.
func (j *job) exit(t *testing.T) int {
	t.Helper()
	limit := time.AfterFunc(launchertest.Patience, func() { _ = j.cmd.Process.Kill() })
	defer limit.Stop()
	_ = j.cmd.Wait()
	for i, b := range []*launchertest.Buffer{&j.stdout, &j.stderr} {
		if _, err := io.WriteString(j.pipes[i], theEnd); err != nil {
			t.Fatal(err)
		}
		b.Await(t, strings.TrimSpace(theEnd))
	}
	return j.cmd.ProcessState.ExitCode()
}

// member returns the pid of the process that the supervisor has started, or 0.
func (j *job) member() (pid int) {
	return j.pidOf("member")
}

// pidOf returns the pid that a process has printed behind a word, or 0.
func (j *job) pidOf(word string) (pid int) {
	for line := range strings.Lines(j.stdout.String()) {
		if _, err := fmt.Sscanf(line, word+" %d", &pid); err == nil {
			return pid
		}
	}
	return 0
}

// memberLives reports whether that process still exists.
func (j *job) memberLives(t *testing.T) bool {
	t.Helper()
	pid := j.member()
	if pid == 0 {
		t.Fatalf("the supervisor has started no process:\n%s%s", &j.stdout, &j.stderr)
	}
	return unix.Kill(pid, 0) == nil
}

// memberEnds checks that this process has been killed. On a loaded machine it may still be dying
// when the keeper, which waits for a second after a good end, has ended.
func (j *job) memberEnds(t *testing.T) {
	t.Helper()
	if j.memberLives(t) {
		launchertest.Gone(t, strconv.Itoa(j.member()))
	}
}

// TestSweepAfterAGoodEnd checks that the keeper kills what is left even after a job that ended
// well, and that it does not if the job may leave processes behind.
func TestSweepAfterAGoodEnd(t *testing.T) {
	swept := startJob(t, "member", "say exit 0", "exit 0")
	if code := swept.exit(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, swept.said())
	}
	swept.memberEnds(t)
	left := startJob(t, "member", "say leave", "say exit 0", "exit 0")
	if code := left.exit(t); code != 0 || !left.memberLives(t) {
		t.Errorf("exit code %d, the process that may stay lives: %v\n%s", code,
			left.memberLives(t), left.said())
	}
}

// forwarded returns the bytes that a keeper sends to its supervisor for a signal.
func forwarded(k *Keeper, sig syscall.Signal) string {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err.Error()
	}
	k.supervisor = os.NewFile(uintptr(fds[0]), "link to the supervisor")
	k.pid = os.Getpid() // a SIGCONT is sent to it
	defer k.supervisor.Close()
	defer unix.Close(fds[1])
	k.forward(sig)
	got := make([]byte, 8)
	n, _, err := unix.Recvfrom(fds[1], got, unix.MSG_DONTWAIT)
	if err != nil {
		return "nothing"
	}
	return fmt.Sprint(got[:n])
}

func TestForward(t *testing.T) {
	for _, c := range []struct {
		what string
		in   Keeper
		sig  syscall.Signal
		want string
		// after
		suspending  bool
		suspensions int
	}{
		{"a request to suspend", Keeper{}, unix.SIGTSTP, "[20]", true, 1},
		{"another one", Keeper{suspending: true, suspensions: 1}, unix.SIGTSTP, "[20]", true, 2},
		{"a suspension that was continued long ago",
			Keeper{continued: time.Now().Add(-time.Hour)}, unix.SIGTSTP, "[20]", true, 1},
		{"a suspension that may be older than the SIGCONT",
			Keeper{continued: time.Now().Add(time.Hour)}, unix.SIGTSTP, "nothing", false, 0},
		{"SIGCONT", Keeper{suspending: true, suspensions: 1}, unix.SIGCONT, "[18]", false, 1},
		{"a signal for the workers", Keeper{}, unix.SIGUSR1, "[10]", false, 0},
		{"a request for the end", Keeper{}, unix.SIGINT, "[2]", false, 0},
		{"a second one", Keeper{requests: stopRequests{count: 1}}, unix.SIGINT,
			fmt.Sprint([]byte{link.Kill}), false, 0},
		{"a third one", Keeper{requests: stopRequests{count: 2}}, unix.SIGTERM,
			fmt.Sprint([]byte{link.Quit}), false, 0},
		{"one that belongs to the one before",
			Keeper{requests: stopRequests{count: 1, last: time.Now().Add(time.Hour)}}, unix.SIGINT,
			"nothing", false, 0},
	} {
		k := c.in
		if got := forwarded(&k, c.sig); got != c.want {
			t.Errorf("%s: the supervisor gets %s, want %s", c.what, got, c.want)
		}
		if k.suspending != c.suspending || k.suspensions != c.suspensions {
			t.Errorf("%s: suspending %v, %d suspensions", c.what, k.suspending, k.suspensions)
		}
	}
}

// TestContinuedIsNoted checks that SIGCONT notes its time, by which a later SIGTSTP is judged.
func TestContinuedIsNoted(t *testing.T) {
	begin := time.Now()
	k := &Keeper{}
	forwarded(k, unix.SIGCONT)
	if k.continued.Before(begin) {
		t.Errorf("continued is %s, want at least %s", k.continued, begin)
	}
}

// TestFirstProcessCannotBeSuspended checks that the first process of a PID namespace, which the
// kernel does not stop, asks nobody to suspend.
func TestFirstProcessCannotBeSuspended(t *testing.T) {
	cmd := asRole("forward-as-first-process")
	cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWPID
	out, err := cmd.Output()
	if err != nil {
		nvmltest.Unavailable(t, fmt.Sprintf("cannot make a PID namespace (%v): run as root", err))
	}
	if string(out) != "nothing\n" {
		t.Errorf("the supervisor gets %s", out)
	}
}

// suspendMain calls suspend for a keeper in the state that the arguments describe, and exits with
// 7 unless it stops itself.
func suspendMain(args []string) int {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 2
	}
	k := &Keeper{suspending: args[0] == "suspending", pid: os.Getpid(),
		supervisor: os.NewFile(uintptr(fds[0]), "link"),
		signals:    make(chan os.Signal, 1), stops: make(chan os.Signal, 1)}
	k.suspensions, _ = strconv.Atoi(args[1])
	k.requests.count, _ = strconv.Atoi(args[2])
	for _, waiting := range args[3:] {
		switch waiting {
		case "CONT":
			k.signals <- unix.SIGCONT
		case "TERM":
			k.stops <- unix.SIGTERM
		}
	}
	k.suspend()
	fmt.Println(k.suspending)
	return 7
}

// TestSuspend checks when the keeper stops itself after the workers have been stopped.
func TestSuspend(t *testing.T) {
	for what, c := range map[string]struct {
		args    []string
		stopped bool
	}{
		"the workers have been stopped":     {[]string{"suspending", "1", "0"}, true},
		"they have been continued":          {[]string{"continued", "1", "0"}, false},
		"another request is not answered":   {[]string{"suspending", "2", "0"}, false},
		"the end has been requested":        {[]string{"suspending", "1", "1"}, false},
		"the end has been requested before": {[]string{"continued", "1", "2"}, false},
		"a SIGCONT waits":                   {[]string{"suspending", "1", "0", "CONT"}, false},
		"a SIGTERM waits":                   {[]string{"suspending", "1", "0", "TERM"}, false},
	} {
		cmd := asRole("suspend", c.args...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var ws unix.WaitStatus
		if _, err := unix.Wait4(cmd.Process.Pid, &ws, unix.WUNTRACED, nil); err != nil {
			t.Fatal(err)
		}
		if ws.Stopped() != c.stopped || !c.stopped && ws.ExitStatus() != 7 {
			t.Errorf("%s: stopped %v, want %v; wait status %#x\n%s", what, ws.Stopped(), c.stopped,
				ws, &stderr)
		}
		if ws.Stopped() {
			_ = unix.Kill(cmd.Process.Pid, unix.SIGCONT)
			_ = cmd.Wait()
			if stdout.String() != "false\n" {
				t.Errorf("%s: when it is continued, suspending is %s", what, &stdout)
			}
		}
	}
}
