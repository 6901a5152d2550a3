//go:build linux

package chaos

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// host is the parent of one launcher. It is a child subreaper, as init is to
// everybody: whatever the launcher leaves comes here and cannot hide. There is a
// host for each job, so that several can run at a time.
type host struct {
	s   scenario
	out outcome

	keeper     int
	keeperFD   int // pidfd
	bystanders []*bystander
	stdout     *os.File
	launched   time.Time
	faulted    time.Time // the latest fault

	changed chan struct{} // something below has changed
	mu      sync.Mutex
	members []member
	empty   bool // every process of the job has ended
	ended   map[int]unix.WaitStatus
	stderr  strings.Builder
	struck  string // a signal that was not for this process
	let     bool   // the test has let go of us
}

// member is what a process of the job announced.
type member struct {
	identity
	rank   int // -1 below a worker
	cgroup string
}

func hostMain(text string) int {
	h := &host{s: decode[scenario](text), changed: make(chan struct{}, 1), ended: map[int]unix.WaitStatus{}}
	if err := h.run(); err != nil {
		h.out.Err = err.Error()
	}
	h.cleanUp()
	fmt.Println(encode(h.out))
	return 0
}

func (h *host) run() error {
	if err := process.BecomeSubreaper(); err != nil {
		return err
	}
	h.watch()
	for _, session := range []bool{false, true} {
		if err := h.addBystander(session); err != nil {
			return err
		}
	}
	go h.reap()
	if !h.until(patience, func() bool { return h.bystanders[0].ready && h.bystanders[1].ready }) {
		return fmt.Errorf("no bystander within %s", patience)
	}
	if err := h.launch(); err != nil {
		return err
	}
	for i := range h.s.Faults {
		if err := h.await(i); err != nil {
			return err
		}
		h.faulted = time.Now()
		if err := h.inject(h.s.Faults[i]); err != nil {
			return err
		}
	}
	h.judge()
	return nil
}

// watch takes down signals that stray here, and hears when the test lets go. As the
// signals are caught, the launcher starts with the default action for each.
func (h *host) watch() {
	c := make(chan os.Signal, 16)
	signal.Notify(c, noted...)
	go func() {
		for sig := range c {
			h.note(func() { h.struck += unix.SignalName(sig.(syscall.Signal)) + " " })
		}
	}()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		h.note(func() { h.let = true })
	}()
}

// note changes what mu guards.
func (h *host) note(f func()) {
	h.mu.Lock()
	f()
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// until waits for a change that makes cond true.
func (h *host) until(limit time.Duration, cond func() bool) bool {
	deadline := time.After(limit)
	for {
		h.mu.Lock()
		ok, let := cond(), h.let
		h.mu.Unlock()
		if ok || let {
			return ok
		}
		select {
		case <-h.changed:
		case <-deadline:
			return false
		}
	}
}

// readLines hands over line by line, and calls atEnd when the last writer is gone.
func (h *host) readLines(r *os.File, line func(string), atEnd func()) {
	in := bufio.NewScanner(r)
	for in.Scan() {
		h.note(func() { line(in.Text()) })
	}
	r.Close()
	if atEnd != nil {
		h.note(atEnd)
	}
}

// reap collects every child: the launcher, bystanders and whoever is handed to us.
func (h *host) reap() {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return // bystanders are the last
		}
		h.note(func() { h.ended[pid] = ws })
	}
}

// launch starts the job.
func (h *host) launch() error {
	rollR, rollW, err := os.Pipe()
	if err != nil {
		return err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	files := []uintptr{null.Fd(), outW.Fd(), errW.Fd(), rollFD: rollW.Fd()}
	argv, files, done := h.commandLine(files)
	h.launched, h.stdout, h.keeperFD = time.Now(), outR, -1
	h.keeper, err = syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: files, Sys: &syscall.SysProcAttr{PidFD: &h.keeperFD},
	})
	done()
	for _, f := range []*os.File{rollW, outW, errW, null} {
		f.Close()
	}
	if err != nil {
		return err
	}
	go h.readLines(rollR, h.enrol, func() { h.empty = true })
	go h.readLines(errR, func(line string) { fmt.Fprintln(&h.stderr, line) }, nil)
	go func() { _, _ = io.Copy(io.Discard, outR) }()
	return nil
}

// commandLine is how the launcher is started: as a user does it, or without one of
// its mechanisms.
func (h *host) commandLine(files []uintptr) ([]string, []uintptr, func()) {
	args := append([]string{"--metrics-address=off", "--nproc-per-node=" + strconv.Itoa(len(h.s.Trees)),
		"--grace=" + h.s.Grace.String()}, h.s.Flags...)
	args = append(append(args, "--"), asRole("worker", h.s.End, encode(h.s.Trees))...)
	// Where the launcher starts it, /proc/self/exe is the launcher.
	if self, err := os.Executable(); err == nil {
		args[len(h.s.Flags)+4] = self
	}
	none := func() {}
	switch h.s.Without {
	case "":
		return append([]string{h.s.Binary, "run"}, args...), files, none
	case "keeper":
		// A supervisor whose keeper is there and does nothing: this process.
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			panic(err)
		}
		files = append(files, uintptr(fds[1]))
		return append([]string{h.s.Binary, "supervise", "4"}, args...), files, func() { unix.Close(fds[1]) }
	}
	return append(asRole("without", h.s.Without, h.s.Binary, "run"), args...), files, none
}

// enrol enters a process that announced itself.
func (h *host) enrol(line string) {
	var m member
	if _, err := fmt.Sscan(line, &m.pid, &m.start, &m.rank, &m.cgroup); err != nil {
		h.out.Err = fmt.Sprintf("%v in %q", err, line)
		return
	}
	h.members = append(h.members, m)
}
