package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// Failed is the exit code of a launcher that could not do its work, after
// coreutils' timeout and nohup.
const Failed = 125

// ExitError carries an exit code other than Failed. Without Err, all has been said.
type ExitError struct {
	Code int
	Err  error
}

// Error gives the text of Err, "" without one.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap gives Err.
func (e *ExitError) Unwrap() error { return e.Err }

// Complain prints an error as one line and gives the exit code for it.
func Complain(err error) int {
	if err == nil {
		return 0
	}
	if text := terminal.OneLine(err.Error()); text != "" {
		fmt.Fprintf(os.Stderr, "gpulaunch: %s\n", text)
	}
	return ExitCode(err)
}

// ExitCode gives what the process exits with after an error.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	var e *ExitError
	if errors.As(err, &e) {
		return e.Code
	}
	return Failed
}
