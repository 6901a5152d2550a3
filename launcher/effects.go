package launcher

import (
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/internal/spawn"
)

// What follows makes an Attempt the world of its lifecycle.

func (a *Attempt) pauseStarting()  { a.gate.pause() }
func (a *Attempt) resumeStarting() { a.gate.resume() }
func (a *Attempt) haltStarting()   { a.gate.close() }

func (a *Attempt) abandonTemplate() {
	if a.template != nil {
		a.template.Close()
	}
}

func (a *Attempt) signalWorkers(sig syscall.Signal) {
	for _, w := range a.workers {
		w.SignalGroup(sig)
	}
}

func (a *Attempt) askWorkers(sig syscall.Signal) {
	a.stopSent = time.Now()
	for _, w := range a.workers {
		a.askWorker(w, sig)
	}
}

// askWorker sends SIGCONT as well, because a stopped process acts on a signal only once it
// runs again.
func (a *Attempt) askWorker(w *worker, sig syscall.Signal) {
	a.signalled[w.PID] = w.SignalGroup(sig)
	w.SignalGroup(unix.SIGCONT)
}

func (a *Attempt) killWorker(w *worker) { w.SignalGroup(unix.SIGKILL) }

func (a *Attempt) leftovers() int {
	spawn.ReapOrphans()
	return len(a.descendants())
}

func (a *Attempt) askLeftovers(sig syscall.Signal) {
	left := a.descendants()
	if alive := living(left); len(alive) > 0 {
		a.say("the workers have ended; waiting up to " + a.policy.grace.String() + " for " +
			process.Listed(alive, "that they left behind"))
	}
	for _, d := range left {
		if !a.signalled[d.Group] {
			_ = d.Signal(sig) // those that it did not reach are killed later
			_ = d.Signal(unix.SIGCONT)
		}
	}
	a.leftBehind = true
}

// killInterval is the least time between two rounds of SIGKILL.
const killInterval = 10 * time.Millisecond

func (a *Attempt) killAll() int {
	begin := time.Now()
	var left []process.Descendant
	if a.policy.sweeps {
		spawn.ReapOrphans()
		left = a.descendants()
	}
	for _, d := range living(left) {
		// Those in the group of a worker that is killed with it are not worth a word.
		if a.leftBehind || !a.signalled[d.Group] {
			a.recordKilled(d)
		}
	}
	a.signalWorkers(unix.SIGKILL)
	a.killMembers()
	for _, d := range left {
		_ = d.Signal(unix.SIGKILL) // one that cannot be reached remains
	}
	// Looking at all processes takes long where there are many.
	a.rounds.Reset(max(killInterval, 4*time.Since(begin)))
	return len(left)
}

// recordKilled takes note of a process that is killed, once.
func (a *Attempt) recordKilled(d process.Descendant) {
	known := func(s process.Descendant) bool { return s.PID == d.PID }
	if !slices.ContainsFunc(a.killed, known) {
		a.killed = append(a.killed, d)
	}
}

func (a *Attempt) giveUp() {
	a.rounds.Stop()
	for _, w := range a.workers {
		if d, ok := process.Read(w.PID); ok && w.Alive() {
			a.unkillable = append(a.unkillable, d)
		}
	}
	if a.policy.sweeps {
		a.unkillable = append(a.unkillable, a.descendants()...)
	}
}

func (a *Attempt) killMembers() {
	if a.cgroup != nil {
		cgroup.Kill(a.cgroup.Path)
	}
}

func (a *Attempt) setTimer(d time.Duration) { a.timer.Reset(d) }

func (a *Attempt) stopTimer() {
	a.timer.Stop()
	a.rounds.Stop()
}

func (a *Attempt) drain() {
	a.copied = a.output.Drained()
	a.output.Cut(drainLimit)
}

func (a *Attempt) stopAnnounced(sig syscall.Signal) {
	a.emit(Event{Kind: JobStopping, Text: process.SignalName(sig)})
}

func (a *Attempt) say(line string) { a.cfg.Log(line) }

func (a *Attempt) debug(line string) { a.cfg.debug("attempt %d: %s", a.number, line) }

// descendants are those that the launcher did not start itself. A child of its own counts
// until it has been waited for: it may have been an orphan for a microsecond, or its
// threads may still be ending (state Z is the first thread's).
func (a *Attempt) descendants() []process.Descendant {
	if !process.HasChildren() {
		return nil
	}
	self := unix.Getpid()
	list, err := process.DescendantsBut(self, a.job.Spares)
	if err != nil {
		return nil // no /proc: nothing can be told apart
	}
	return slices.DeleteFunc(list, func(d process.Descendant) bool {
		return d.State == 'Z' && d.Parent != self || a.job.Owns(d.PID)
	})
}

// living are those that have not exited.
func living(list []process.Descendant) []process.Descendant {
	return slices.DeleteFunc(slices.Clone(list),
		func(d process.Descendant) bool { return d.State == 'Z' })
}
