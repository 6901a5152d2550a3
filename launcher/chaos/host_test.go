//go:build linux

package chaos

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/keeper/early"
)

// host is the parent of one launcher. It is a child subreaper, so all processes that the launcher
// leaves become its children. Each job has a host of its own, so that several can run at a time.
//
// Goroutines: one waits for children, one notes signals, one waits for the end of the standard
// input, and one reads each pipe. Each of them lasts at most as long as the process.
type host struct {
	s   scenario
	out outcome

	keeper     int
	keeperFD   int // pidfd
	bystanders []*bystander
	stdout     *os.File
	attackers  []net.Conn // kept so that they stay open
	launched   time.Time
	lastFault  time.Time

	changed   chan struct{} // receives a value after one of the fields below has changed
	mu        sync.Mutex
	members   []member
	empty     bool // every process of the job has ended
	ended     map[int]unix.WaitStatus
	stderr    strings.Builder
	strayed   string // the signals that this process got by mistake
	abandoned bool   // the test has ended
}

// member is a process of the job that has announced itself.
type member struct {
	identity
	rank   int // -1 for a descendant of a worker
	cgroup string
}

func hostMain(text string) int {
	h := &host{
		s: decode[scenario](text), changed: make(chan struct{}, 1),
		ended: map[int]unix.WaitStatus{},
	}
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
	early.ReserveThreads() // see fillPIDs
	h.watch()
	for _, attr := range []syscall.SysProcAttr{{}, {Setsid: true}} {
		if err := h.addBystander(attr); err != nil {
			return err
		}
	}
	go h.reap()
	ready := func() bool { return h.bystanders[0].ready && h.bystanders[1].ready }
	if !h.until(patience, ready) {
		return fmt.Errorf("the bystanders are not ready within %s", patience)
	}
	if err := h.launch(); err != nil {
		return err
	}
	for i := range h.s.Faults {
		if err := h.await(i); err != nil {
			return err
		}
		h.lastFault = time.Now()
		if err := h.inject(h.s.Faults[i]); err != nil {
			return err
		}
	}
	h.judge()
	return nil
}

// watch notes the signals that this process gets, and when the test ends. Because the signals are
// caught and not ignored, execve(2) resets them to the default action for the launcher.
func (h *host) watch() {
	c := make(chan os.Signal, 16)
	signal.Notify(c, noticed...)
	go func() {
		for sig := range c {
			h.note(func() { h.strayed += unix.SignalName(sig.(syscall.Signal)) + " " })
		}
	}()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		h.note(func() { h.abandoned = true })
	}()
}

// note calls f, which changes fields that mu guards.
func (h *host) note(f func()) {
	h.mu.Lock()
	f()
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// until waits until cond is true, and reports whether it is. It calls cond with mu locked.
func (h *host) until(limit time.Duration, cond func() bool) bool {
	deadline := time.After(limit)
	for {
		h.mu.Lock()
		ok, abandoned := cond(), h.abandoned
		h.mu.Unlock()
		if ok || abandoned {
			return ok
		}
		select {
		case <-h.changed:
		case <-deadline:
			return false
		}
	}
}

// readLines calls line for each line, and atEnd when all processes that can write have ended.
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

// reap waits for every child: the launcher, the bystanders and the orphans.
func (h *host) reap() {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return // ECHILD: the bystanders are the last children
		}
		h.note(func() { h.ended[pid] = ws })
	}
}

// launch starts the job.
func (h *host) launch() error {
	memberR, memberW, err := os.Pipe()
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
	files := []uintptr{null.Fd(), outW.Fd(), errW.Fd(), announceFD: memberW.Fd()}
	argv, files, done := h.commandLine(files)
	h.launched, h.stdout, h.keeperFD = time.Now(), outR, -1
	// A process group of its own, as a shell gives to a job.
	h.keeper, err = syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: files,
		Sys: &syscall.SysProcAttr{PidFD: &h.keeperFD, Setpgid: true},
	})
	done()
	for _, f := range []*os.File{memberW, outW, errW, null} {
		f.Close()
	}
	if err != nil {
		return err
	}
	go h.readLines(memberR, h.addMember, func() { h.empty = true })
	go h.readLines(errR, func(line string) { fmt.Fprintln(&h.stderr, line) }, nil)
	go func() { _, _ = io.Copy(io.Discard, outR) }()
	return nil
}

// commandLine returns the command line and the files of the launcher, which is started as a user
// would start it or without one of its mechanisms. Call done when it has been started.
func (h *host) commandLine(files []uintptr) (argv []string, all []uintptr, done func()) {
	args := append([]string{
		"--metrics-address=off", "--nproc-per-node=" + strconv.Itoa(len(h.s.Trees)),
		"--grace=" + h.s.Grace.String(), "--keep-fds", // see announceFD
	}, h.s.Flags...)
	worker := asRole("worker", h.s.End, encode(h.s.Trees))
	// The launcher executes this, and /proc/self/exe would be the launcher then.
	if self, err := os.Executable(); err == nil {
		worker[0] = self
	}
	args = append(append(args, "--"), worker...)
	nothing := func() {}
	switch h.s.Without {
	case "":
		return append([]string{h.s.Binary, "run"}, args...), files, nothing
	case noKeeper:
		// This process is the supervisor's keeper, and does nothing.
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			panic(err)
		}
		if _, err := unix.Write(fds[0], []byte{link.Listening}); err != nil {
			panic(err)
		}
		files = append(files, uintptr(fds[1]))
		argv = append([]string{h.s.Binary, "supervise", "4", "0", "first"}, args...)
		return argv, files, func() { unix.Close(fds[1]) }
	}
	return append(asRole("without", h.s.Without, h.s.Binary, "run"), args...), files, nothing
}

// addMember adds a process that has announced itself.
func (h *host) addMember(line string) {
	var m member
	if _, err := fmt.Sscan(line, &m.pid, &m.start, &m.rank, &m.cgroup); err != nil {
		h.out.Err = fmt.Sprintf("a process announced itself with %q: %v", line, err)
		return
	}
	h.members = append(h.members, m)
}
