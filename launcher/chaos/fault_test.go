//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// burstSize is how many signals a burst has.
const burstSize = 3000

// await waits for the moment of a fault.
func (h *host) await(i int) error {
	f, since := h.s.Faults[i], time.Now()
	ok := true
	switch f.When {
	case atOnce:
		since = h.launched
	case next:
		since = h.faulted
	case whenReady:
		all := size(h.s.Trees)
		ok = h.until(patience, func() bool { return len(h.members) == all })
		since = time.Now()
	case whenSaid:
		ok = h.until(patience, func() bool { return strings.Contains(h.stderr.String(), ": stopping ") })
		since = time.Now()
	case whenAgain:
		ok = h.awaitAttempt()
		since = time.Now()
	case whenDead:
		w, err := h.worker(h.s.Faults[i-1].Rank)
		if err != nil {
			return err
		}
		// State Z is its first thread's: only one that has been waited for has ended.
		ok = poll(func() bool { return w.state() == 0 })
		since = time.Now()
	}
	if !ok {
		return fmt.Errorf("%q did not come within %s: %d of %d processes announced; stderr:\n%s",
			f.When, patience, len(h.members), size(h.s.Trees), h.stderr.String())
	}
	<-time.After(time.Until(since.Add(f.Delay)))
	return nil
}

// awaitAttempt waits for the second attempt and looks whether anything of the
// first, which was complete, is alive when it begins.
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
			h.out.Old = append(h.out.Old, fmt.Sprintf("%d of rank %d in state %c", m.pid, m.rank, s))
		}
	}
	return h.until(patience, func() bool { return len(h.members) == 2*all })
}

// inject does it.
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
	case killBoth:
		return h.killSupervisor(func(supervisor identity) {
			// Whoever is second would have a moment to act, so the supervisor is held.
			supervisor.signal(unix.SIGSTOP)
			poll(func() bool { return supervisor.state() == 'T' })
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
	case hitBystander:
		h.bystanders[1].signal(unix.SIGUSR1)
		h.until(patience, func() bool { return h.bystanders[1].said != "" })
	}
	return nil
}

// signal sends one to the process that we started, or to none if it has ended.
func (h *host) signal(sig syscall.Signal) {
	_ = unix.PidfdSendSignal(h.keeperFD, sig, nil, 0)
}

// killSupervisor ends the keeper's only child, after doing something else.
func (h *host) killSupervisor(first func(identity)) error {
	var who identity
	found := poll(func() (ok bool) {
		who, ok = h.supervisor()
		return ok
	})
	first(who)
	if !found {
		// A keeper that was killed before has taken its supervisor along.
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ended := h.ended[h.keeper]; ended {
			return nil
		}
		return fmt.Errorf("no supervisor within %s", patience)
	}
	who.signal(unix.SIGKILL)
	return nil
}

// supervisor is the keeper's child; once the keeper is gone, ours.
func (h *host) supervisor() (identity, bool) {
	if h.s.Without == "keeper" {
		return identify(h.keeper)
	}
	h.mu.Lock()
	_, orphaned := h.ended[h.keeper]
	h.mu.Unlock()
	parent := h.keeper
	if orphaned {
		parent = os.Getpid()
	}
	for _, pid := range children(parent) {
		argv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		// Before its exec it still has the keeper's arguments.
		if words := strings.Split(string(argv), "\x00"); len(words) > 1 && words[1] == "supervise" {
			return identify(pid)
		}
	}
	return identity{}, orphaned
}

// children of all threads of a process.
func children(pid int) (list []int) {
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, thread := range threads {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, thread.Name()))
		for _, text := range strings.Fields(string(data)) {
			child, _ := strconv.Atoi(text)
			list = append(list, child)
		}
	}
	return list
}

// worker waits for a rank's announcement.
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
		return found, fmt.Errorf("rank %d did not announce itself within %s; stderr:\n%s", rank, patience, h.stderr.String())
	}
	return found, nil
}

func (h *host) signalWorker(rank int, sig syscall.Signal) error {
	w, err := h.worker(rank)
	if err != nil {
		return err
	}
	h.faulted = time.Now()
	w.signal(sig)
	return nil
}

// poll waits for what nobody announces.
func poll(cond func() bool) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		if cond() {
			return true
		}
	}
	return false
}
