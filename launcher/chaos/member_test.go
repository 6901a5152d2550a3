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
)

const (
	// rollFD is the pipe that every process of a job inherits and announces
	// itself on. When its reader sees the end, none of them is left: not even one
	// that had no time to say a word.
	rollFD = 3
	// lifetime ends what a test that was killed itself could not.
	lifetime = 3 * time.Minute
)

// workerMain is the root of the tree for its rank. SIGUSR2 makes it end as end
// says: "exit N", "exit rank" (10 and its rank) or a signal's name.
func workerMain(end, trees string) int {
	end = strings.Clone(end) // it lies where retitle writes
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGUSR2)
	rank, err := strconv.Atoi(os.Getenv("RANK"))
	if err != nil {
		return 2
	}
	if code := decode[[]node](trees)[rank].settle(rank); code != 0 {
		return code
	}
	select {
	case <-asked:
		return finish(end, rank)
	case <-time.After(lifetime):
		return 2
	}
}

// memberMain is any process below a worker.
func memberMain(spec string) int {
	// Passed on to the worker's group, and no reason to end.
	signal.Ignore(unix.SIGUSR2)
	if code := decode[node](spec).settle(-1); code != 0 {
		return code
	}
	<-time.After(lifetime)
	return 2
}

// forkMain is the parent that a double-forked process loses.
func forkMain(spec string) int {
	n := decode[node](spec)
	if _, err := n.spawn("member", [3]*os.File{os.Stdin, os.Stdout, os.Stderr}, nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return 0
}

// settle becomes what the traits say, starts the rest of the tree and announces
// itself.
func (n node) settle(rank int) int {
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
	if _, err := unix.Write(rollFD, line); err != nil {
		return 2
	}
	return 0
}

// start starts a process of the tree, through another one if it is to lose that.
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

// finish ends the process by itself.
func finish(how string, rank int) int {
	if how == "exit rank" {
		return 10 + rank
	}
	if text, ok := strings.CutPrefix(how, "exit "); ok {
		code, _ := strconv.Atoi(text)
		return code
	}
	// A Go program makes an exit code of SIGSEGV; a shell dies of it.
	err := unix.Exec("/bin/sh", []string{"sh", "-c", "kill -" + how + " $$"}, os.Environ())
	fmt.Fprintln(os.Stderr, err)
	return 2
}

// write prints until the process ends, which it may do by SIGPIPE.
func write() {
	for range time.Tick(5 * time.Millisecond) {
		fmt.Println("tick")
	}
}

// retitle overwrites the name, the arguments and the environment that /proc shows,
// as setproctitle does.
func retitle() {
	_ = os.WriteFile("/proc/self/comm", []byte("another title"), 0)
	fields := statFields(os.Getpid())
	mem, err := os.OpenFile("/proc/self/mem", os.O_WRONLY, 0)
	if err != nil || len(fields) < 49 {
		return // the other traits still count
	}
	defer mem.Close()
	// Fields 48 to 51 of proc_pid_stat(5), of which statFields leaves out two:
	// where arguments and environment begin and end.
	for _, i := range []int{45, 47} {
		from, err1 := strconv.ParseInt(fields[i], 10, 64)
		to, err2 := strconv.ParseInt(fields[i+1], 10, 64)
		if err1 == nil && err2 == nil && to > from {
			_, _ = mem.WriteAt(bytes.Repeat([]byte{'x'}, int(to-from-1)), from)
		}
	}
}
