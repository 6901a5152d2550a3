// Package launcher starts one worker process per device, watches the workers and says how they
// ended.
//
// Use [Run] to run a plan to its end, including restarts. Use [Start] if the program watches a
// single attempt itself: Start returns an [Attempt], which can be joined, waited for, stopped and
// signalled. Package plan makes the plan, and [Command.Resolve] makes the workers' command. A job
// ends with a [RaisedError] if the first worker that failed left an error file, and with an
// [ExitedError] if it did not.
//
// [Register] registers a Go function under a name, so that worker processes of the same program can
// run it. Package worker is for the other side: it tells a worker written in Go which worker it is.
//
// Data flows one way:
//
//	plan.Machine, plan.Options ─→ plan.Plan ─→ Attempt ─→ Result
//	                                            └→ Event, for metrics and logs
//
// # Attempts
//
// Each attempt is a state machine. Events arrive in a mailbox and are handled one at a time. Only
// the function enter changes the state.
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
// An event that cannot happen in the current state is logged with the state, and the job is stopped
// in order with exit code 125.
//
// # Restarts
//
// [Run] makes attempts one after the other. Its phases, and what requests mean in each, are in
// phases.go and restart.go:
//
//	preload ─→ attempt ─→ leftovers
//	            ↑   │ a worker failed, and restarts are left
//	    restart │   ↓
//	            └─ restart delay ─→ leftovers, if the job is stopped
//
// During a restart delay no process of the job exists, so a request to stop ends the job at once.
// If the job is suspended when the delay is over, the restart waits for SIGCONT.
//
// # Goroutines
//
//   - Each Attempt has one goroutine, which owns its state, workers and timers. It ends when the
//     attempt is over.
//   - Each Attempt has one goroutine that waits for processes (spawn.Waiter), and one per pipe that
//     copies output (stdio.Output). They end with the attempt.
//   - With [StartForkserver], one goroutine asks the template to fork the workers and ends after
//     the last of them. Another waits for the template.
//   - One goroutine owns the operating system thread that starts workers (spawn.Spawner). It exists
//     as long as children that it started are alive, for two reasons: a child inherits the CPU
//     affinity and the signal mask of the thread that starts it, and its parent death signal is
//     tied to the thread that forked it (prctl(2), PR_SET_PDEATHSIG).
//   - Two goroutines look at the workers and the GPUs while the job runs (internal/monitor).
//
// Control has one owner, package supervisor: it decides what a signal means for the job.
//
// # Two processes
//
// The command runs a job as two processes of the same binary. The keeper (package keeper) is the
// process that the user started. It forwards signals, reaps children and, at the end, kills what is
// left. The supervisor is its only child and does everything else: package supervisor connects it
// to its keeper, and [Run] runs the job. Both are child subreapers, so a descendant that loses its
// parent becomes a child of the supervisor or, after the supervisor's end, of the keeper.
//
// A program that uses this package as a library has one process and no keeper. It still has the
// workers' parent death signal and, with Config.Subreaper, the sweep.
//
// # Forked workers
//
// With [StartForkserver], a template process imports Python modules and then forks each worker
// twice. That makes the grandchild an orphan, and the kernel gives it to the nearest subreaper,
// which is this process. From then on it is a child like any other, with the same waiting, signals,
// sweep and parent death signal.
//
// # Kernel
//
// The package needs Linux 5.4 or newer, because it waits for workers through pidfds (pidfd_open(2)
// is in Linux 5.3, waitid(2) with P_PIDFD in 5.4).
package launcher
