// Package supervisor is what surrounds a job in its process: the thread that starts
// processes, the one place that decides what a signal means, and the link to the keeper.
//
// The command runs a job as two processes of one binary. The keeper (package keeper) is
// the process that the user started: it counts signals and passes them on over a link, and
// at the end it sweeps what is left. The second process calls [Connect] first thing, then
// plans, and hands the Supervisor to launcher.Run. A program that uses package launcher as
// a library needs nothing of this: it leaves Config.Supervisor nil.
//
// # Control
//
// A [Supervisor] owns control from the first signal to the last byte of output. Whoever
// wants something of the job sends a [Request]; the Supervisor decides what it amounts to
// and tells the current [Phase]. A job goes through the phases planning, preloading,
// attempt (once per attempt) and leftovers, one after the other, with gaps between them in
// which a request is only remembered.
//
//	            first request to stop        second            third
//	running ──────────────────────→ stopping ─────→ killing ─────→ left
//
// Beside that, the job may be suspended. No phase begins while it is, and none begins once
// it is to stop.
//
// # Goroutines
//
// Of a connected Supervisor one reads the link and one, the loop, receives what the link
// and the signals bring. Both live as long as the process. One that New has made has none;
// requests are acted on by the goroutine that sends them.
package supervisor
