// Package launcher decides which worker process gets which device and CPUs,
// starts the workers, watches over them and says how they ended.
//
// The data goes one way:
//
//	Machine, Options ─→ Plan ─→ Group (one attempt) ─→ Result
//	                             └→ Event, for metrics and logs
//
// A [Plan] is plain data and [NewPlan] a pure function: no process, no clock and
// no environment is read inside, so a plan can be printed, tested for a
// machine nobody owns and carried in a bug report.
//
// # As a library
//
// [Start] starts the workers of a plan and gives a [Group] to join, wait for, stop
// and signal. [Register] gives a Go function a name under which worker processes of
// the same program can run it. A job ends with a [RaisedError] for a worker that left
// an error file and with an [ExitedError] for one that did not. Package worker is
// the other side: it tells a worker written in Go which one it is.
//
// # Two processes
//
// The command runs a job as two processes of one binary. The keeper (package
// keeper) is the process that the user started: it forwards signals, reaps, and at
// the end sweeps what is left. The supervisor, its only child, does all the rest
// ([Supervise] connects it to its keeper, [Run] runs the job). Both are child
// subreapers, so a descendant that loses its parent comes to the supervisor and,
// when that is gone, to the keeper.
//
// As a library there is one process and no keeper: what stays is the workers' death
// signal and, with Config.Subreaper, the sweep.
//
// # Threads
//
// Workers are started by one goroutine that owns an operating system thread
// ([Spawner]): CPU affinity and the signal mask are attributes of a thread that a
// child inherits, and a child's parent death signal is tied to the thread that
// forked it (prctl(2), PR_SET_PDEATHSIG).
//
// # Forked workers
//
// With [StartForkserver] a template process imports Python modules and then forks
// each worker twice, so that the kernel gives the grandchild, an orphan, to the
// nearest subreaper: this process. From then on it is a child like any other, and
// everything about waiting, signals, sweeping and death signals is the same.
//
// # Kernel
//
// Linux 5.4 or newer: workers are waited for through pidfds.
package launcher
