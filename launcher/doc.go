// Package launcher starts one worker process per device, watches over them, and says how
// they ended.
//
// Use [Run] to run a plan to its end, restarts included, and [Start] for one attempt that
// the program watches itself: it gives an [Attempt] to join, wait for, stop and signal. A
// plan comes from package plan, the workers' command from [Command.Resolve]. A job ends with
// a [RaisedError] for a worker that left an error file and with an [ExitedError] for one
// that did not.
//
// [Register] gives a Go function a name under which worker processes of the same program
// can run it. Package worker is the other side: it tells a worker written in Go which one
// it is.
//
// The data goes one way:
//
//	plan.Machine, plan.Options ─→ plan.Plan ─→ Attempt ─→ Result
//	                                            └→ Event, for metrics and logs
//
// # Attempts
//
// An attempt is one state machine. Events come in by mail and are acted on one at a time;
// only the function enter changes the state.
//
//	            all started          a worker failed, and the others
//	starting ─────────────→ running ─────────────────────→ leaving
//	   │                     │   │    may leave by           │  │
//	   │ a worker failed,    │   │    themselves             │  │ time is up,
//	   │ cannot be started,  │   │                           │  │ a stop
//	   │ or a stop           │   └───── all ended ───────────┤  │
//	   │                     │                               │  │
//	   │        ┌────────────┘                               │  │
//	   ↓        ↓                                            ↓  │
//	stopping ←──┼───────────────────────────────────────────────┘
//	   │        │        all ended, leftovers live
//	   ├────────┼──────────────────────────────────→ lingering
//	   │        │                                        │
//	   │ grace period is over, or another stop           │ likewise
//	   └────────┼──────────→ killing ←───────────────────┤
//	            │               │ nothing is left        │ leftovers ended
//	            ↓               ↓                        ↓
//	            └───────────→ draining ←─────────────────┘
//	                            │ output passed on
//	                            ↓
//	                          over
//
// What cannot happen is logged with state and event, and stops the job in order with exit
// code 125.
//
// # Goroutines
//
//   - One runs each Attempt and owns its state, workers and timers. It ends when the
//     attempt is over.
//   - One per Attempt waits for processes (spawn.Waiter) and one per pipe copies output
//     (stdio.Output); both end with it.
//   - With [StartForkserver], one asks the template to fork the workers and ends with the
//     last of them, and one waits for the template.
//   - One owns an operating system thread that starts workers (spawn.Spawner) for as long as
//     children of its live: CPU affinity and signal mask are attributes of a thread that a
//     child inherits, and a child's parent death signal is tied to the thread that forked it
//     (prctl(2), PR_SET_PDEATHSIG).
//   - Two look at the workers and the GPUs while the job runs (internal/monitor).
//
// Control, that is what signals amount to, has one owner: package supervisor.
//
// # Two processes
//
// The command runs a job as two processes of one binary. The keeper (package keeper) is the
// process that the user started: it forwards signals, reaps, and at the end sweeps what is
// left. The supervisor, its only child, does all the rest (package supervisor connects it to
// its keeper, [Run] runs the job). Both are child subreapers, so a descendant that loses its
// parent comes to the supervisor and, when that is gone, to the keeper.
//
// As a library there is one process and no keeper: what stays is the workers' death signal
// and, with Config.Subreaper, the sweep.
//
// # Forked workers
//
// With [StartForkserver] a template process imports Python modules and then forks each
// worker twice, so that the kernel gives the grandchild, an orphan, to the nearest
// subreaper: this process. From then on it is a child like any other, and everything about
// waiting, signals, sweeping and death signals is the same.
//
// # Kernel
//
// Linux 5.4 or newer: workers are waited for through pidfds.
package launcher
