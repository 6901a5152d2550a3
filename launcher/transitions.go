package launcher

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/internal/text"
)

// The events of a Group, one method each; see state for the states.

// workerExited: a worker has ended and been waited for.
func (g *Group) workerExited(w *worker) {
	g.live--
	g.tell(Event{Kind: WorkerExited, Rank: w.Rank, PID: w.pid, Exit: w.exit, CPU: w.cpu, Time: w.ended})
	if w.waitErr != nil && g.result.Err == nil {
		g.result.Err = w.waitErr
	}
	if w.exit.Signal == unix.SIGKILL {
		n := g.countOOMKills()
		w.oom, g.oomKills = n > g.oomKills, n
	}
	if g.state < leaving && (!w.exit.OK() || w.waitErr != nil) {
		g.workerFailed(w)
	}
	if g.nobody() && g.state > starting && g.state < draining {
		g.workersGone()
	}
}

// nobody is there that the launcher has started.
func (g *Group) nobody() bool { return g.live == 0 && !g.forking }

// workerFailed: the first worker did not end well. The others are asked to end,
// now or when they have had time to leave by themselves.
func (g *Group) workerFailed(w *worker) {
	others := text.Plural(g.live, "the other worker", "the other %d workers")
	switch {
	case g.live == 0:
		g.beginStop(unix.SIGTERM)
	case g.cfg.FailureWait > 0 && g.state == running: // else they wait for ranks that never come
		g.state = leaving
		g.timer.Reset(g.cfg.FailureWait)
		g.cfg.Log(fmt.Sprintf("%s %s: up to %s for %s to leave unasked, then SIGTERM", w.label(), w.exit, g.cfg.FailureWait, others))
	default:
		g.cfg.Log(fmt.Sprintf("%s %s: stopping %s (SIGTERM, then SIGKILL after %s)", w.label(), w.exit, others, g.cfg.Grace))
		g.beginStop(unix.SIGTERM)
	}
}

// templateDied: the process that workers are forked from is gone, and with it the
// promise that the job can be restarted and that its workers are all alike.
func (g *Group) templateDied() {
	g.templateDead = nil
	if g.state < stopping {
		g.result.Err = fmt.Errorf("the template process that the workers were forked from %s", g.template.Exit())
		g.cfg.Log(fmt.Sprintf("%s: stopping %s", g.result.Err, text.Plural(g.live, "%d worker", "%d workers")))
		g.beginStop(unix.SIGTERM)
		if g.nobody() {
			g.workersGone()
		}
	}
}

// startFailed: a worker could not be started. When the job is being stopped anyway
// that may be why.
func (g *Group) startFailed(err error) {
	if g.state == starting {
		g.result.Err, g.startErr = err, err
		g.beginStop(unix.SIGTERM)
	}
	if g.nobody() && g.state < draining {
		g.workersGone()
	}
}

// stopRequested: the user wants the end.
func (g *Group) stopRequested(sig syscall.Signal) {
	g.asked = true
	switch {
	case g.state < stopping:
		g.beginStop(sig)
		if g.nobody() {
			g.workersGone()
		}
	case g.state == draining:
		g.timer.Reset(drainLimit)
	}
}

// hurryRequested: whoever else could end the job is gone.
func (g *Group) hurryRequested() {
	if g.state == stopping || g.state == lingering {
		g.timer.Reset(min(g.cfg.Grace, hurriedGrace))
	}
}

// killRequested: the user will not wait for the grace period.
func (g *Group) killRequested() {
	g.stopRequested(unix.SIGTERM)
	if g.state == stopping || g.state == lingering {
		g.timer.Stop()
		g.timeExpired()
	}
}

// timeExpired: the time that the state allows is up.
func (g *Group) timeExpired() {
	switch g.state {
	case leaving:
		g.cfg.Log(fmt.Sprintf("stopping %s (SIGTERM, then SIGKILL after %s)",
			text.Plural(g.live, "the other worker", "the other %d workers"), g.cfg.Grace))
		g.beginStop(unix.SIGTERM)
	case stopping:
		g.state = killing
		if g.forking {
			g.template.Close() // it hangs
		}
		g.result.Swept = g.strays()
		g.signalAll(unix.SIGKILL)
		g.killCgroup()
		g.timer.Reset(killLimit)
	case lingering, killing:
		g.sweep()
	case draining:
		g.state = over
	}
}

// childEnded: SIGCHLD, or a child of the launcher has been waited for.
func (g *Group) childEnded() {
	if !g.cfg.Subreaper {
		return
	}
	reapOrphans()
	if g.state == lingering && len(g.leftovers()) == 0 {
		g.drain()
	}
}

// beginStop asks the workers to end.
func (g *Group) beginStop(sig syscall.Signal) {
	g.state, g.suspended = stopping, false
	g.stopWith, g.stopSent = sig, time.Now()
	for _, w := range g.workers {
		g.tellToEnd(w)
	}
	g.timer.Reset(g.cfg.Grace)
	g.tell(Event{Kind: JobStopping, Text: process.SignalName(sig)})
}

// tellToEnd sends a worker's group the ending signal. A stopped process acts on it
// only once it runs again.
func (g *Group) tellToEnd(w *worker) {
	g.told[w.pid] = w.signalGroup(g.stopWith)
	w.signalGroup(unix.SIGCONT)
}

// workersGone: no worker is left. Descendants of theirs may be.
func (g *Group) workersGone() {
	if !g.cfg.Subreaper || (g.cfg.LeaveBehind && g.state < leaving) {
		g.drain()
		return
	}
	reapOrphans()
	left := g.leftovers()
	switch {
	case len(left) == 0:
		g.drain()
	case g.state == killing:
		g.sweep()
	default:
		g.linger(left)
	}
}

// linger gives what the workers left behind the rest of the grace period.
func (g *Group) linger(left []Descendant) {
	if g.state != stopping {
		g.timer.Reset(g.cfg.Grace)
	}
	g.state = lingering
	if alive := living(left); len(alive) > 0 {
		g.cfg.Log(fmt.Sprintf("the workers have ended; waiting up to %s for %s", g.cfg.Grace, process.Listed(alive, "that they left behind")))
	}
	for _, d := range left {
		if !g.told[d.Group] {
			_ = d.Signal(g.stopWith) // what it did not reach, the sweep will
			_ = d.Signal(unix.SIGCONT)
		}
	}
	// One may have ended before it could be counted.
	g.childEnded()
}

// sweep ends what is left with SIGKILL.
func (g *Group) sweep() {
	if g.cfg.Subreaper {
		ended, left := process.Sweep{
			Spare: g.spares, Reap: reapOrphans, AtOnce: g.killCgroup,
			Wake: g.cfg.ChildEnded, Limit: process.SweepLimit,
		}.Run()
		for _, d := range ended {
			known := func(s Descendant) bool { return s.PID == d.PID }
			if !slices.ContainsFunc(g.result.Swept, known) {
				g.result.Swept = append(g.result.Swept, d)
			}
		}
		g.result.Unkillable = left
	} else {
		g.result.Unkillable = g.stuck()
	}
	g.drain()
}

// drain waits for the workers' last words. A pipe that somebody outside of the
// job still holds (a descriptor can be passed on) is given up when it is silent;
// a reader of ours who takes his time is not, unless the user wants the end.
func (g *Group) drain() {
	if !g.cfg.LeaveBehind || g.state >= leaving {
		// A member need not be a descendant: one that was started in another PID
		// namespace (nsenter(1)) and then lost its parent is that one's init's.
		g.killCgroup()
	}
	g.state = draining
	g.timer.Stop()
	g.drained = g.out.drained()
	g.out.cut(drainLimit)
	if g.asked {
		g.timer.Reset(2 * drainLimit)
	}
}

// stuck are the workers that have not ended.
func (g *Group) stuck() (list []Descendant) {
	for _, w := range g.workers {
		if d, _, ok := process.Read(w.pid); ok && w.alive() {
			list = append(list, d)
		}
	}
	return list
}

// strays are leftovers outside of the workers' own process groups.
func (g *Group) strays() (list []Descendant) {
	if !g.cfg.Subreaper {
		return nil
	}
	for _, d := range living(g.leftovers()) {
		if !g.told[d.Group] {
			list = append(list, d)
		}
	}
	return list
}

// killCgroup ends all members of the job's control group at once.
func (g *Group) killCgroup() {
	if g.cgroup != nil {
		cgroup.Kill(g.cgroup.Path)
	}
}

// signalAll signals the process group of each worker that lives.
func (g *Group) signalAll(sig syscall.Signal) {
	for _, w := range g.workers {
		w.signalGroup(sig)
	}
}

// leftovers are the descendants that the launcher did not start itself. A child of
// its own counts until it has been waited for: it may have been an orphan for a
// microsecond, or its threads may still be ending (state Z is the first thread's).
func (g *Group) leftovers() []Descendant {
	if !process.HasChildren() {
		return nil
	}
	self := unix.Getpid()
	list, err := process.DescendantsBut(self, g.spares)
	if err != nil {
		return nil
	}
	var left []Descendant
	for _, d := range list {
		if (d.State != 'Z' || d.Parent == self) && !g.worksFor(d.PID) {
			left = append(left, d)
		}
	}
	return left
}

// living are those that have not ended.
func living(list []Descendant) []Descendant {
	return slices.DeleteFunc(slices.Clone(list), func(d Descendant) bool { return d.State == 'Z' })
}
