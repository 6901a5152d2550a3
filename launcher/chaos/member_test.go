//go:build linux

package chaos

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

const (
	// announceFD is a pipe that all processes of a job inherit. They announce themselves on it.
	// When its reader sees the end, all processes have ended, also those that did not announce
	// themselves in time.
	announceFD = 3
	// lifetime is when a process exits by itself, in case the test was killed.
	lifetime = 3 * time.Minute
)

// workerMain is the root of the process tree for its rank. After SIGUSR2 it ends in the way that
// end describes: "exit N", "exit rank" (with 10 plus its rank) or the name of a signal.
func workerMain(end, trees string) int {
	end = strings.Clone(end) // retitle overwrites the arguments
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGUSR2)
	rank, err := strconv.Atoi(os.Getenv("RANK"))
	if err != nil {
		return 2
	}
	if code := decode[[]node](trees)[rank].become(rank); code != 0 {
		return code
	}
	select {
	case <-asked:
		return finish(end, rank)
	case <-time.After(lifetime):
		return 2
	}
}

// memberMain is a descendant of a worker.
func memberMain(spec string) int {
	// The launcher passes SIGUSR2 on to whole process groups. It must not end this process.
	signal.Ignore(unix.SIGUSR2)
	if code := decode[node](spec).become(-1); code != 0 {
		return code
	}
	<-time.After(lifetime)
	return 2
}

// forkMain is the parent of a double-forked process. It exits at once.
func forkMain(spec string) int {
	n := decode[node](spec)
	if _, err := n.spawn("member", [3]*os.File{os.Stdin, os.Stdout, os.Stderr}, nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return 0
}

// become gives this process the traits of the node, starts the nodes below it, and announces the
// process. It returns an exit code if that fails, and otherwise 0.
func (n node) become(rank int) int {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	signal.Ignore(unix.SIGUSR1, unix.SIGWINCH)
	if n.has(ignores) {
		signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)
	}
	for _, kid := range n.Kids {
		if err := kid.start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
	}
	who, ok := identify(os.Getpid())
	if !ok {
		return 2
	}
	line := fmt.Appendf(nil, "%d %s %d %s\n", who.pid, who.start, rank, ownCgroup())
	if n.has(retitled) {
		retitle()
	}
	if n.has(writes) {
		go write()
	}
	if _, err := unix.Write(announceFD, line); err != nil {
		return 2
	}
	return 0
}

// start starts the process of a node. If it is to be double-forked, another process starts it.
func (n node) start() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	files := [3]*os.File{null, null, null}
	if n.has(holds) {
		files = [3]*os.File{null, os.Stdout, os.Stderr}
	}
	role := "member"
	if n.has(doubled) {
		role = "fork"
	}
	p, err := n.spawn(role, files, &syscall.SysProcAttr{Setsid: n.has(setsid)})
	if err == nil && n.has(doubled) {
		_, err = p.Wait()
	}
	return err
}

func (n node) spawn(role string, files [3]*os.File, sys *syscall.SysProcAttr) (*os.Process, error) {
	env := os.Environ()
	if n.has(cleared) {
		env = []string{}
	}
	argv := asRole(role, encode(n))
	return os.StartProcess(argv[0], argv, &os.ProcAttr{Files: files[:], Env: env, Sys: sys})
}

// finish ends this process in the way that how describes: it returns an exit code or dies.
func finish(how string, rank int) int {
	if how == "exit rank" {
		return 10 + rank
	}
	if text, ok := strings.CutPrefix(how, "exit "); ok {
		code, _ := strconv.Atoi(text)
		return code
	}
	// The Go runtime catches SIGSEGV and exits with a code instead. A shell dies of the signal.
	err := unix.Exec("/bin/sh", []string{"sh", "-c", "kill -" + how + " $$"}, os.Environ())
	fmt.Fprintln(os.Stderr, err)
	return 2
}

// write prints lines until the process ends. It may end by SIGPIPE.
func write() {
	for range time.Tick(5 * time.Millisecond) {
		fmt.Println("tick")
	}
}

// retitle overwrites the name, the arguments and the environment that /proc shows, as setproctitle
// does.
func retitle() {
	_ = os.WriteFile("/proc/self/comm", []byte("another title"), 0)
	fields := launchertest.Stat(os.Getpid())
	mem, err := os.OpenFile("/proc/self/mem", os.O_WRONLY, 0)
	if err != nil || len(fields) < 49 {
		return // the process still has its other traits
	}
	defer mem.Close()
	// Fields 48 to 51 of proc_pid_stat(5) are the addresses at which the arguments and the
	// environment begin and end.
	for _, i := range []int{48 - 3, 50 - 3} {
		from, err1 := strconv.ParseInt(fields[i], 10, 64)
		to, err2 := strconv.ParseInt(fields[i+1], 10, 64)
		if err1 == nil && err2 == nil && to > from {
			_, _ = mem.WriteAt(bytes.Repeat([]byte{'x'}, int(to-from-1)), from)
		}
	}
}
