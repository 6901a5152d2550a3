package launcher

import (
	"fmt"
	"slices"
)

// state is the state of an attempt. It only moves forward, see the drawing in the package comment.
type state int

const (
	// In starting, some workers may not have been started yet.
	starting state = iota
	// In running, all workers have been started.
	running
	// In leaving, a worker has failed, and the others may still leave by themselves.
	leaving
	// In stopping, the workers have been asked to end and the grace period runs.
	stopping
	// In lingering, all workers have ended. The descendants that they left have been asked to end,
	// and the grace period runs.
	lingering
	// In killing, everything that is left is sent SIGKILL, again and again.
	killing
	// In draining, the processes are gone, and their output is still being passed on.
	draining
	// In over, nothing is left to wait for.
	over
)

func (s state) String() string {
	return [...]string{"starting", "running", "leaving", "stopping", "lingering", "killing",
		"draining", "over"}[s]
}

// successors lists the states that may follow each state.
var successors = map[state][]state{
	starting:  {running, stopping},
	running:   {leaving, stopping, lingering, draining},
	leaving:   {stopping, lingering, draining},
	stopping:  {lingering, killing, draining},
	lingering: {killing, draining},
	killing:   {draining},
	draining:  {over},
}

// enter changes the state. Nothing else does.
func (l *lifecycle) enter(next state) {
	if !slices.Contains(successors[l.state], next) {
		l.impossible(fmt.Sprintf("going on to %s", next))
		return
	}
	l.effects.debug(fmt.Sprintf("%s → %s", l.state, next))
	l.state = next
}

// impossible records an event that cannot happen in the current state. It stops the job in order:
// whatever is wrong with the launcher, the workers get their grace period.
func (l *lifecycle) impossible(event string) {
	err := fmt.Errorf("internal error: %s cannot happen to a job that is %s; please report this",
		event, l.state)
	l.effects.log(err.Error())
	if l.err == nil {
		l.err = err
	}
	if l.state < stopping {
		l.beginStop(stopSignal)
	}
}
