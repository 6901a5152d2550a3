//go:build linux

package main

import (
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// shellTerminal is a pseudo terminal with an interactive shell on it.
type shellTerminal struct {
	t       *testing.T
	master  *os.File
	seen    launchertest.Buffer
	awaited int // how many bytes of what was seen await has looked at
}

// openTerminal starts bash with job control, as a person's terminal does.
func openTerminal(t *testing.T) *shellTerminal {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		nvmltest.Unavailable(t, "bash is not here")
	}
	master, slave := launchertest.OpenTerminal(t)
	x := &shellTerminal{t: t, master: master}
	shell := exec.Command(bash, "--norc", "--noprofile", "-i")
	shell.Env = append(os.Environ(), "PS1=$ ", "TERM=dumb", "GPULAUNCH_METRICS_ADDRESS=off")
	shell.Stdin, shell.Stdout, shell.Stderr = slave, slave, slave
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	var wg sync.WaitGroup
	wg.Go(func() { _ = shell.Wait() })
	wg.Go(func() { _, _ = io.Copy(&x.seen, master) })
	t.Cleanup(func() {
		x.close()
		wg.Wait()
	})
	return x
}

// close is what happens when the window is closed.
func (x *shellTerminal) close() { x.master.Close() }

// write types.
func (x *shellTerminal) write(keys string) {
	x.t.Helper()
	if _, err := x.master.WriteString(keys); err != nil {
		x.t.Fatal(err)
	}
}

// await waits until the terminal shows a match behind what was awaited before.
func (x *shellTerminal) await(pattern string) (match string) {
	x.t.Helper()
	re := regexp.MustCompile(pattern)
	shown := x.seen.Until(func(text string) bool {
		at := re.FindStringSubmatchIndex(text[x.awaited:])
		if at == nil {
			return false
		}
		match = text[x.awaited:][at[len(at)-2]:at[len(at)-1]]
		x.awaited += at[1]
		return true
	})
	if !shown {
		x.t.Fatalf("the terminal does not show %s:\n%s", pattern, &x.seen)
	}
	return match
}

// run types the command line of a job.
func (x *shellTerminal) run(flags string, worker ...string) {
	x.t.Helper()
	x.write(launchertest.Binary + " run " + flags + " " +
		strings.Join(launchertest.Worker(worker...), " ") + "\n")
}

func TestCtrlC(t *testing.T) {
	x := openTerminal(t)
	x.run("--nproc-per-node=2", "block")
	a, b := x.await(`ready (\d+)`), x.await(`ready (\d+)`)
	x.write("\x03")
	x.await("SIGINT: stopping 2 workers, up to 30s; once more kills them")
	x.write("echo code $?\n")
	x.await("code 130")
	launchertest.Gone(t, a, b)
}

func TestCtrlCTwice(t *testing.T) {
	x := openTerminal(t)
	x.run("--nproc-per-node=1 --grace=1h", "ignore")
	pid := x.await(`ready (\d+)`)
	x.write("\x03")
	x.await("SIGINT: stopping 1 worker")
	launchertest.AwaitSignalWindow()
	x.write("\x03")
	x.await("asked again: killing what is left")
	x.write("echo code $?\n")
	x.await("code 130")
	launchertest.Gone(t, pid)
}

func TestCtrlZAndForeground(t *testing.T) {
	x := openTerminal(t)
	x.run("--nproc-per-node=2", "relay")
	a, b := x.await(`ready (\d+)`), x.await(`ready (\d+)`)
	x.write("\x1a")
	x.await("Stopped")
	awaitState(t, a, "T")
	awaitState(t, b, "T")
	x.write("fg\n")
	awaitState(t, a, "SR")
	awaitState(t, b, "SR")
	x.write("\x03") // relay takes no SIGINT: the default ends it
	x.await("SIGINT: stopping 2 workers")
	x.write("echo code $?\n")
	x.await("code 130")
	launchertest.Gone(t, a, b)
}

func TestTerminalCloses(t *testing.T) {
	x := openTerminal(t)
	x.run("--nproc-per-node=2", "block")
	a, b := x.await(`ready (\d+)`), x.await(`ready (\d+)`)
	pid, _ := strconv.Atoi(a)
	_, supervisor, keeper := ancestors(t, pid)
	x.close()
	launchertest.Gone(t, a, b, strconv.Itoa(supervisor), strconv.Itoa(keeper))
}

// ancestors gives a process, its parent and its grandparent.
func ancestors(t *testing.T, pid int) (self, parent, grandparent int) {
	t.Helper()
	up := func(pid int) int {
		fields := launchertest.Stat(pid)
		if len(fields) == 0 {
			t.Fatalf("process %d does not exist", pid)
		}
		ppid, _ := strconv.Atoi(fields[1])
		return ppid
	}
	parent = up(pid)
	return pid, parent, up(parent)
}

// TestTypedInput: rank 0 reads what is typed, though it is not in the terminal's
// foreground group, and sees the end of file.
func TestTypedInput(t *testing.T) {
	x := openTerminal(t)
	x.run("-q --nproc-per-node=2 --stdin=rank0 --output=prefix", "report")
	x.await(`\[1\] report .*"Stdin":""`)
	x.write("typed\n\x04")
	x.await(`\[0\] report .*"Stdin":"typed\\n"`)
	x.write("echo code $?\n")
	x.await("code 0")
}
