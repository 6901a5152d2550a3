// Package spawn brings processes into being and waits for them.
//
// A [Spawner] is an operating system thread that starts workers and helpers. [Fork] takes
// over a worker that a template process has forked. Either gives a [Process], which a
// [Waiter] waits for. [ReapOrphans] collects the ended children that nobody has started.
//
// # The process-wide record of children
//
// wait(2) knows neither jobs nor spawners, and whoever reaps orphans must not take
// somebody else's child for one. So this package records, for the whole process, each
// child that was started here and has not been waited for yet, together with its [Job].
//
// # Goroutines
//
// Each Spawner has one, which owns the thread and ends with Close. Each Waiter has the one
// that calls Run, which ends when the Waiter is closed.
package spawn
