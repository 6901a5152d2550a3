//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// burstSize is how many signals a burst has.
const burstSize = 3000

// await waits for the moment of fault i.
func (h *host) await(i int) error {
	f, since := h.s.Faults[i], time.Now()
	ok := true
	switch f.When {
	case atOnce:
		since = h.launched
	case next:
		since = h.lastFault
	case whenReady:
		all := size(h.s.Trees)
		ok = h.until(patience, func() bool { return len(h.members) == all })
		since = time.Now()
	case whenSaid:
		ok = h.until(patience, func() bool {
			return strings.Contains(h.stderr.String(), ": stopping ")
		})
		since = time.Now()
	case whenGone:
		ok = launchertest.Poll(h.gone)
		since = time.Now()
	case whenAgain:
		ok = h.awaitAttempt()
		since = time.Now()
	case whenDead:
		w, err := h.worker(h.s.Faults[i-1].Rank)
		if err != nil {
			return err
		}
		// A process is in state Z before all of its threads have ended. All of it has ended only
		// when it has been waited for.
		ok = launchertest.Poll(func() bool { return w.state() == 0 })
		since = time.Now()
	}
	if !ok {
		h.mu.Lock()
		defer h.mu.Unlock()
		return fmt.Errorf("the moment %q did not come within %s: "+
			"%d of %d processes have announced themselves; stderr:\n%s",
			f.When, patience, len(h.members), size(h.s.Trees), h.stderr.String())
	}
	<-time.After(time.Until(since.Add(f.Delay)))
	return nil
}

// gone reports whether all processes that have announced themselves have ended.
func (h *host) gone() bool {
	h.mu.Lock()
	members := h.members
	h.mu.Unlock()
	return !slices.ContainsFunc(members, func(m member) bool {
		state := m.state()
		return state != 0 && state != 'Z'
	})
}

// awaitAttempt waits until the second attempt is complete. It notes which processes of the first
// attempt are alive when the second one begins. The first attempt must have been complete.
func (h *host) awaitAttempt() bool {
	all := size(h.s.Trees)
	if !h.until(patience, func() bool { return len(h.members) > all }) {
		return false
	}
	h.mu.Lock()
	first := h.members[:all]
	h.mu.Unlock()
	for _, m := range first {
		if s := m.state(); s != 0 && s != 'Z' {
			h.out.Old = append(h.out.Old,
				fmt.Sprintf("process %d of rank %d in state %c", m.pid, m.rank, s))
		}
	}
	return h.until(patience, func() bool { return len(h.members) == 2*all })
}

// inject makes a fault happen.
func (h *host) inject(f fault) (err error) {
	switch f.Kind {
	case sendTERM:
		h.signal(unix.SIGTERM)
	case sendINT:
		h.signal(unix.SIGINT)
	case sendHUP:
		h.signal(unix.SIGHUP)
	case burst:
		for i := range burstSize {
			h.signal(syscall.Signal(f.Signals[i%len(f.Signals)]))
		}
	case killKeeper:
		h.signal(unix.SIGKILL)
	case killSupervisor:
		return h.killSupervisor(func(identity) {})
	case killGroup:
		// It has not been waited for, or no process has its number.
		_ = unix.Kill(-h.keeper, unix.SIGKILL)
	case stopSupervisor:
		who, err := h.findSupervisor()
		who.signal(unix.SIGSTOP)
		return err
	case stopKeeper:
		h.signal(unix.SIGSTOP)
		keeper, _ := identify(h.keeper)
		launchertest.Poll(func() bool {
			state := keeper.state()
			return state == 'T' || state == 0
		})
	case contKeeper:
		h.signal(unix.SIGCONT)
	case killBoth:
		return h.killSupervisor(func(supervisor identity) {
			// The one that is killed last would have a moment to act, so the supervisor is stopped
			// first.
			supervisor.signal(unix.SIGSTOP)
			launchertest.Poll(func() bool { return supervisor.state() == 'T' })
			h.lockGroups(supervisor)
			h.signal(unix.SIGKILL)
		})
	case killWorker:
		return h.signalWorker(f.Rank, unix.SIGKILL)
	case stopWorker:
		return h.signalWorker(f.Rank, unix.SIGSTOP)
	case endWorker:
		return h.signalWorker(f.Rank, unix.SIGUSR2)
	case endWorkers:
		for rank := range h.s.Trees {
			err = errors.Join(err, h.signalWorker(rank, unix.SIGUSR2))
		}
		return err
	case closeStdout:
		return h.stdout.Close()
	case attackMetrics:
		return h.attackMetrics()
	case cleanTemp:
		return removeFolders()
	case fillPIDs:
		return h.fillPIDs()
	case hitBystander:
		h.bystanders[1].signal(unix.SIGUSR1)
		h.until(patience, func() bool { return h.bystanders[1].printed != "" })
	}
	return nil
}

// signal sends a signal to the keeper, unless it has ended.
func (h *host) signal(sig syscall.Signal) {
	_ = unix.PidfdSendSignal(h.keeperFD, sig, nil, 0)
}

// killSupervisor calls before with the supervisor, and then kills it.
func (h *host) killSupervisor(before func(identity)) error {
	who, err := h.findSupervisor()
	before(who)
	who.signal(unix.SIGKILL)
	return err
}

// lockGroups keeps the control groups of a supervisor locked until this process ends. Otherwise jobs
// of other tests, which run at the same time, would end what is left in them before it is counted.
func (h *host) lockGroups(supervisor identity) {
	pidfd, err := unix.PidfdOpen(supervisor.pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(pidfd)
	files, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", supervisor.pid))
	for _, f := range files {
		path, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", supervisor.pid, f.Name()))
		if fd, err := strconv.Atoi(f.Name()); err == nil && strings.Contains(path, "/gpulaunch-job-") {
			// The copy belongs to the same open file, and so does the lock (flock(2)).
			_, _ = unix.PidfdGetfd(pidfd, fd, 0)
		}
	}
}

// findSupervisor waits until there is a supervisor. If the keeper was killed before, the supervisor
// may have ended by itself.
func (h *host) findSupervisor() (who identity, err error) {
	if launchertest.Poll(func() (ok bool) {
		who, ok = h.supervisor()
		return ok
	}) {
		return who, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ended := h.ended[h.keeper]; ended {
		return who, nil
	}
	return who, fmt.Errorf("the keeper (process %d) has no supervisor within %s", h.keeper, patience)
}

// supervisor finds the supervisor. It is the keeper's child, and this process's child after the
// keeper has ended. ok is also true if there is no supervisor and the keeper has ended.
func (h *host) supervisor() (who identity, ok bool) {
	if h.s.Without == noKeeper {
		return identify(h.keeper)
	}
	h.mu.Lock()
	_, orphaned := h.ended[h.keeper]
	h.mu.Unlock()
	parent := h.keeper
	if orphaned {
		parent = os.Getpid()
	}
	for _, pid := range launchertest.Children(parent) {
		argv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		// Before it executes its program, it still has the arguments of the keeper.
		if words := strings.Split(string(argv), "\x00"); len(words) > 1 && words[1] == "supervise" {
			return identify(pid)
		}
	}
	return identity{}, orphaned
}

// worker waits until the worker with a rank has announced itself.
func (h *host) worker(rank int) (found member, err error) {
	ok := h.until(patience, func() bool {
		for _, m := range h.members {
			if m.rank == rank {
				found = m
				return true
			}
		}
		return false
	})
	if !ok {
		h.mu.Lock()
		defer h.mu.Unlock()
		return found, fmt.Errorf("rank %d has not announced itself within %s; stderr:\n%s",
			rank, patience, h.stderr.String())
	}
	return found, nil
}

func (h *host) signalWorker(rank int, sig syscall.Signal) error {
	w, err := h.worker(rank)
	if err != nil {
		return err
	}
	h.lastFault = time.Now()
	w.signal(sig)
	return nil
}
