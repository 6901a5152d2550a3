// Package spawn starts processes and waits for them.
//
// A [Spawner] is an operating system thread that starts workers and helpers. [Spawner.Fork] takes
// over a worker that a template process has forked. Both return a [Process], and a [Waiter] waits
// for it. [ReapOrphans] reaps the children that nothing in this process has started.
//
// # The process-wide record of children
//
// wait(2) knows neither jobs nor spawners, and code that reaps orphans must not reap a child that
// other code waits for. This package therefore records, for the whole process, each child that it
// has started and not yet waited for, together with its [Job].
//
// # Goroutines
//
// Each Spawner has one goroutine, which owns the thread and ends with Close. Each Waiter has the
// goroutine that calls Run, which ends when the Waiter is closed.
package spawn
