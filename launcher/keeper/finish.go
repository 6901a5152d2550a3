package keeper

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// endLink makes the reader of the link get what is there and then the end, even if a child that has
// not called exec yet holds the other end. Nothing more is to come.
func (k *Keeper) endLink() { _ = unix.Shutdown(int(k.supervisor.Fd()), unix.SHUT_RD) }

// sweep kills every descendant and every member of the job's control group, and removes the group
// and the job's private folder. It returns the processes that it has ended and those that are left
// after limit.
func (k *Keeper) sweep(limit time.Duration) (ended, left []process.Descendant) {
	ended, left = process.Sweep{
		Spare: k.inherited.spares,
		Reap:  k.reap, AtOnce: func() { cgroup.Kill(k.cgroup) }, Wake: k.childEnded, Limit: limit,
	}.Run()
	k.removeTraces(limit)
	return ended, left
}

// removeTraces ends the members of the job's control group, and removes the group and the job's
// private folder.
func (k *Keeper) removeTraces(limit time.Duration) {
	cgroup.Kill(k.cgroup)              // a member need not be a descendant, see nsenter(1)
	_ = cgroup.Remove(k.cgroup, limit) // members that cannot be killed keep it
	if k.folder != "" {
		_ = os.RemoveAll(k.folder)
	}
}

// finish kills what is left and returns the exit code.
func (k *Keeper) finish() int {
	k.drain()
	exit := process.ExitStatusOf(k.status)
	orderly := k.reaped && k.announcedExit && exit.Signal == ""
	if orderly && k.leaveBehind {
		return exit.Code
	}
	if orderly && k.inherited.tracked {
		// The supervisor has ended all of the job. What is below this process is somebody else's.
		k.removeTraces(quitLimit)
		return exit.Code
	}
	limit := process.SweepLimit
	if orderly || k.requests.quit() {
		limit = quitLimit // the supervisor has waited already, or the user does not want to
	}
	ended, left := k.sweep(limit)
	if orderly && !k.namespace.pending() {
		return exit.Code
	}
	if k.requests.first != 0 {
		return 128 + int(k.requests.first)
	}
	how := exit.String()
	if k.status.Signaled() && link.Stops(k.status.Signal()) {
		// The signal was sent to the process group before the supervisor could subscribe to it.
		return exit.Code
	}
	if exit.Signal == "" {
		how = "crashed: it " + how
	}
	text := "the supervisor " + how
	if len(ended) > 0 {
		text += "; killed " + process.Describe(ended, "of the job")
	}
	if len(left) > 0 {
		text += "; " + process.DescribeUnkillable(left)
	}
	return k.fail(errors.New(text))
}

// drain handles the signals and messages that arrived with or before the supervisor's end and have
// not been handled yet.
func (k *Keeper) drain() {
	for m := range k.messages { // until the link is closed, which reap has seen to
		if m.word != link.Suspended {
			k.handle(m)
		}
	}
	for {
		select {
		case sig := <-k.stops:
			k.requests.add(sig.(syscall.Signal), time.Now())
		default:
			return
		}
	}
}
