package launcher

import (
	"fmt"
	"slices"
)

// state is where an attempt stands. It only ever goes forward, see the package comment.
type state int

const (
	// starting: some workers may not have been started yet.
	starting state = iota
	// running: all workers have been started.
	running
	// leaving: a worker has failed; the others may still leave by themselves.
	leaving
	// stopping: the workers have been asked to end and the grace period runs.
	stopping
	// lingering: all workers have ended; descendants that they left have been asked to
	// end and the grace period runs.
	lingering
	// killing: everything that is left is sent SIGKILL, again and again.
	killing
	// draining: the processes are gone; their output is still being passed on.
	draining
	// over: nothing is left to wait for.
	over
)

func (s state) String() string {
	return [...]string{"starting", "running", "leaving", "stopping", "lingering", "killing",
		"draining", "over"}[s]
}

// successors are the states that each state may be followed by.
var successors = map[state][]state{
	starting:  {running, stopping},
	running:   {leaving, stopping, lingering, draining},
	leaving:   {stopping, lingering, draining},
	stopping:  {lingering, killing, draining},
	lingering: {killing, draining},
	killing:   {draining},
	draining:  {over},
}

// enter changes the state. It is the only place that does.
func (l *lifecycle) enter(next state) {
	if !slices.Contains(successors[l.state], next) {
		l.impossible(fmt.Sprintf("going on to %s", next))
		return
	}
	l.world.debug(fmt.Sprintf("%s → %s", l.state, next))
	l.state = next
}

// impossible takes note of something that cannot happen in the present state, and stops
// the job in order: whatever is wrong with the launcher, its workers get their grace
// period.
func (l *lifecycle) impossible(event string) {
	err := fmt.Errorf("internal error: %s cannot happen to a job that is %s; please report this",
		event, l.state)
	l.world.say(err.Error())
	if l.err == nil {
		l.err = err
	}
	if l.state < stopping {
		l.beginStop(stopSignal)
	}
}
