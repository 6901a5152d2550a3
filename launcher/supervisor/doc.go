// Package supervisor has what a job needs around it in its process: the thread that starts
// processes, the one place that decides what a signal means, and the link to the keeper.
//
// The command runs a job as two processes of the same binary, each in a process group of its own.
// The keeper (package keeper) is the process that the user started. It counts signals, passes them
// on over a link and, at the end, kills what is left. The second process first calls [Connect], then
// makes the plan and passes the Supervisor to launcher.Run. A program that uses package launcher as
// a library needs nothing of this and leaves Config.Supervisor nil.
//
// # Control
//
// A [Supervisor] controls the job from the first signal to the last byte of output. Whoever wants
// something of the job sends a [Request]. The Supervisor decides what it means and calls the
// current [Phase]. A job goes through the phases planning, preloading, attempt (once per attempt)
// and leftovers, one after the other. Between two phases, a request is only remembered.
//
//	            first request to stop        second            third
//	running ──────────────────────→ stopping ─────→ killing ─────→ quitting
//
// Independently of these states, the job may be suspended. No phase begins during a suspension, and
// none begins after the first request to stop.
//
// # Goroutines
//
// A connected Supervisor has two goroutines, which live as long as the process: one reads the link,
// and one, the loop, handles signals and what was read. A Supervisor from New has none: a request
// is handled by the goroutine that sends it.
package supervisor
