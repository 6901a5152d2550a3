//go:build linux

// Package forkserver starts Python workers by forking them from a template process: a Python
// process that has already imported the modules that all workers need.
//
// The template process is a Python interpreter that has stopped where it imports sitecustomize
// (https://docs.python.org/3/library/site.html). At that point the interpreter is initialised and
// would run the user's script next. Instead it imports the modules and waits. When a forked
// worker returns from sitecustomize, the interpreter runs the script or module in the usual way.
// So the worker has the same __main__, argv, sys.path, tracebacks and exit status as a program
// that was started directly, and its stack has no frames of the template process.
//
// The template process forks twice for a worker, so that the worker becomes an orphan. The kernel
// makes an orphan a child of its nearest ancestor that is a child subreaper (prctl(2),
// PR_SET_CHILD_SUBREAPER), and the process that uses this package must be that ancestor. It then
// waits for the worker as for any other child. Its main thread, which the Go runtime never ends,
// counts as the worker's parent for the parent death signal.
//
// # Goroutines
//
//   - One per [Template] waits for the process. It ends when the process has ended and the
//     imports are known to be done or to have failed.
//   - One per [Template] receives the messages about imports. It ends when Ready is closed.
//   - One per call of Fork closes the worker's connection if the template process ends first. It
//     ends before Fork returns.
package forkserver
