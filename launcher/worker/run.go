package worker

import (
	"fmt"
	"os"
	"strings"

	"github.com/gpulaunch/gpulaunch/launcher/internal/errorfile"
)

// Run is the whole main function of a worker. It calls f with the result of [FromEnvironment],
// and returns if f returns nil.
//
// If f returns an error, panics or calls runtime.Goexit, or if FromEnvironment fails, Run records
// that as [Record] does, prints it to the standard error, and exits with code 1. A panic is
// recorded with the stack of the place where it happened. Deferred functions of Run's callers do
// not run then.
//
// Run cannot record what ends the process in another way: a panic in another goroutine, a call of
// os.Exit, and fatal errors of the Go runtime.
func Run(f func(Info) error) {
	returned := false
	defer func() {
		if !returned {
			exit(describePanic(recover()))
		}
	}()
	info, err := FromEnvironment()
	if err == nil {
		err = f(info)
	}
	returned = true
	if err != nil {
		// The stack of this call would only lead to main, so an error without a stack of its own
		// is recorded without one.
		exit(describe(err))
	}
}

// describePanic returns a record for a function that did not return. value is what a deferred
// function got from recover: since Go 1.21 it is nil only after runtime.Goexit.
func describePanic(value any) errorfile.Record {
	if value == nil {
		return errorfile.Record{
			Message: "runtime.Goexit was called", Traceback: stack("runtime.Goexit"),
		}
	}
	return errorfile.Record{
		Message: fmt.Sprint("panic: ", value), Traceback: stack("runtime.gopanic"),
	}
}

// exit writes the record, prints it, and exits with code 1. It writes first, because printing
// blocks if the standard error is a pipe that nobody reads.
func exit(r errorfile.Record) {
	err := write(r)
	text := r.Message + "\n" + r.Traceback
	if strings.HasPrefix(r.Traceback, r.Message) {
		text = r.Traceback
	}
	if err != nil {
		text = strings.TrimRight(text, "\n") + "\n" + err.Error()
	}
	fmt.Fprintln(os.Stderr, strings.TrimRight(text, "\n"))
	os.Exit(1)
}
