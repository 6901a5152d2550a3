//go:build linux

// Package forkserver starts Python workers by forking them from a template: a
// Python process that has imported the modules that they all need, once.
//
// The template is the interpreter itself, held where it imports sitecustomize
// (https://docs.python.org/3/library/site.html), that is, after its own start
// and just before it would run the user's script. There it imports the modules and
// waits. A forked worker lets go of the hook, and the interpreter goes on to run
// the script or module as it always does: same __main__, same argv, same sys.path,
// same tracebacks and exit status, and none of the template's frames on the stack.
//
// A worker is forked twice, so that the kernel hands it to the nearest subreaper
// above it (prctl(2), PR_SET_CHILD_SUBREAPER): the process that uses this package,
// which must be one. So it is waited for like any child, and its parent death
// signal follows this process's main thread, which the runtime keeps to the end.
package forkserver
