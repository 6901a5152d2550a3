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

// The methods below make an Attempt the effects of its lifecycle.

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

func (a *Attempt) suspendWorker(w *worker) { w.SignalGroup(unix.SIGSTOP) }

func (a *Attempt) askWorkers(sig syscall.Signal) {
	a.stopSent = time.Now()
	for _, w := range a.workers {
		a.askWorker(w, sig)
	}
}

// askWorker sends SIGCONT as well, because a stopped process handles a signal only once it runs
// again.
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
	if alive := withoutZombies(left); len(alive) > 0 {
		a.log("the workers have ended; waiting up to " + a.policy.grace.String() + " for " +
			process.Describe(alive, "that they left behind"))
	}
	a.askEach(left, sig)
	a.leftoversAsked = true
}

func (a *Attempt) askOrphans(sig syscall.Signal) {
	spawn.ReapOrphans()
	adopted, err := process.Adopted()
	if err == nil && !slices.ContainsFunc(adopted, a.isOrphan) {
		return // without looking through all of /proc
	}
	orphans, err := process.DescendantsExcept(unix.Getpid(), a.spares)
	if err != nil {
		return // as in descendants
	}
	a.askEach(orphans, sig)
}

// askEach sends a signal to each process that has not received it yet, by itself or with a worker's
// process group, and continues it.
func (a *Attempt) askEach(list []process.Descendant, sig syscall.Signal) {
	for _, d := range list {
		if !a.signalled[d.Group] && !a.asked[d.ID()] {
			a.asked[d.ID()] = true
			_ = d.Signal(sig) // a process that cannot be signalled is killed later
			_ = d.Signal(unix.SIGCONT)
		}
	}
}

// killInterval is the shortest time between two rounds of SIGKILL.
const killInterval = 10 * time.Millisecond

func (a *Attempt) killAll() int {
	begin := time.Now()
	var left []process.Descendant
	if a.policy.sweeps {
		spawn.ReapOrphans()
		left = a.descendants()
	}
	a.recordAllKilled(withoutZombies(left))
	a.signalWorkers(unix.SIGKILL)
	a.killMembers()
	for _, d := range left {
		_ = d.Signal(unix.SIGKILL) // a process that cannot be signalled stays in the list
	}
	// Reading all of /proc takes long on a machine with many processes.
	pause := max(killInterval, 4*time.Since(begin))
	if len(left) > 0 {
		if chased := process.Chase(spawn.ReapOrphans, a.spares); len(chased) > 0 {
			pause = killInterval // there may be more of the kind
			a.recordAllKilled(chased)
		}
	}
	a.killTimer.Reset(pause)
	return len(left)
}

// recordAllKilled records processes that are killed, except those in the group of a worker that is
// killed at the same time, which are not worth a message.
func (a *Attempt) recordAllKilled(list []process.Descendant) {
	for _, d := range list {
		if a.leftoversAsked || !a.signalled[d.Group] {
			a.recordKilled(d)
		}
	}
}

// recordKilled records a process that is killed, once.
func (a *Attempt) recordKilled(d process.Descendant) {
	known := func(s process.Descendant) bool { return s.ID() == d.ID() }
	if !slices.ContainsFunc(a.killed, known) {
		a.killed = append(a.killed, d)
	}
}

func (a *Attempt) giveUp() {
	a.killTimer.Stop()
	for _, w := range a.workers {
		if d, ok := process.Read(w.PID); ok && w.Alive() {
			a.unkillable = append(a.unkillable, d)
		}
	}
	if a.policy.sweeps {
		a.unkillable = append(a.unkillable, a.descendants()...)
	}
	a.killed = process.Without(a.killed, a.unkillable)
}

func (a *Attempt) killMembers() {
	if a.cgroup != nil {
		cgroup.Kill(a.cgroup.Path)
	}
}

func (a *Attempt) setTimer(d time.Duration) { a.timer.Reset(d) }

func (a *Attempt) stopTimer() {
	a.timer.Stop()
	a.killTimer.Stop()
}

func (a *Attempt) drain() {
	a.drainDone = a.output.Drained()
	a.output.Cut(drainLimit)
}

func (a *Attempt) stopAnnounced(sig syscall.Signal) {
	a.emit(Event{Kind: JobStopping, Text: process.SignalName(sig)})
}

func (a *Attempt) log(line string) { a.cfg.Log(line) }

func (a *Attempt) debug(line string) { a.cfg.debug("attempt %d: %s", a.number, line) }

// descendants returns the descendants that the launcher did not start itself. A zombie that is a
// child of this process counts until it has been waited for: it may just have become an orphan, or
// its other threads may still be ending (state Z is the state of the first thread).
func (a *Attempt) descendants() []process.Descendant {
	if !process.HasChildren() {
		return nil
	}
	self := unix.Getpid()
	list, err := process.DescendantsExcept(self,
		func(d process.Descendant) bool { return a.job.Spares(d.PID) })
	if err != nil {
		return nil // without /proc, descendants cannot be told from other processes
	}
	list = slices.DeleteFunc(list, func(d process.Descendant) bool {
		return d.State == 'Z' && d.Parent != self || a.job.Owns(d.PID)
	})
	if len(list) > 0 || !process.HasOrphans(spawn.ReapOrphans, a.spares) {
		return list
	}
	orphans, _ := process.Adopted() // if it fails now, the next round finds them
	return slices.DeleteFunc(orphans, a.spares)
}

// spares reports whether a child of this process is no leftover: it is a worker, a helper of the
// launcher or another job's.
func (a *Attempt) spares(d process.Descendant) bool {
	return a.job.Spares(d.PID) || a.job.Owns(d.PID)
}

func (a *Attempt) isOrphan(child process.Descendant) bool { return !a.spares(child) }

// withoutZombies returns the processes of list that have not exited.
func withoutZombies(list []process.Descendant) []process.Descendant {
	return slices.DeleteFunc(slices.Clone(list),
		func(d process.Descendant) bool { return d.State == 'Z' })
}
