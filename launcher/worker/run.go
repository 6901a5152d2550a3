package worker

import (
	"fmt"
	"os"
	"strings"

	"github.com/gpulaunch/gpulaunch/launcher/internal/errorfile"
)

// Run is the whole main of a worker: it calls f with what [FromEnvironment] says and
// returns when f has returned nil. An error, a panic (with the stack of where it
// happened) or runtime.Goexit is recorded as [Record] does it and printed on the
// standard error, and the process exits with code 1, without running the deferred
// functions of Run's callers.
//
// A panic in another goroutine, os.Exit and what the Go runtime calls a fatal error
// end the process past Run and leave no record.
func Run(f func(Info) error) {
	returned := false
	defer func() {
		if !returned {
			failed(unwound(recover()))
		}
	}()
	info, err := FromEnvironment()
	if err == nil {
		err = f(info)
	}
	returned = true
	if err != nil {
		// Without a stack of its own an error has none: this one would lead to main only.
		failed(describe(err))
	}
}

// unwound describes why a function did not return, by what its deferred function
// recovered.
func unwound(value any) errorfile.Record {
	if value == nil {
		return errorfile.Record{Message: "runtime.Goexit was called", Traceback: stack("runtime.Goexit")}
	}
	return errorfile.Record{Message: fmt.Sprint("panic: ", value), Traceback: stack("runtime.gopanic")}
}

// failed ends the process. The record comes first: writing on a standard error that
// nobody reads may take for ever.
func failed(r errorfile.Record) {
	err := leave(r)
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
