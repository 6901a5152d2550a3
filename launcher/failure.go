package launcher

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// WorkerFailure says which worker failed, when and how. It is plain data that encoding/json and
// encoding/gob can carry.
type WorkerFailure struct {
	Rank      int    `json:"rank"`
	LocalRank int    `json:"local_rank"`
	PID       int    `json:"pid"`
	Host      string `json:"host"`
	// Time is when the launcher saw the worker's end, in UTC.
	Time time.Time `json:"time"`
	// ExitCode is what a shell would show: the exit code, or 128 plus the number of the
	// signal that ended the process.
	ExitCode int `json:"exit_code"`
	// Signal is the name of the signal that ended the process, as "SIGABRT", and "" if the process
	// exited.
	Signal string `json:"signal,omitempty"`
}

// RaisedError is the failure of a worker that left an error file: an exception under
// PyTorch's @record, or an error that package worker recorded.
type RaisedError struct {
	WorkerFailure
	// Message is the exception and Traceback is where it was raised, as the worker wrote them. Both
	// may contain any character.
	Message   string `json:"message"`
	Traceback string `json:"traceback,omitempty"`
	// Raised is when the worker recorded the error, by its own clock. It is zero if the error file
	// does not say.
	Raised time.Time `json:"raised,omitzero"`
}

// ExitedError is the failure of a worker that left no error file: it exited with a code other than
// 0, or a signal ended it.
type ExitedError struct {
	WorkerFailure
}

// StoppedError says that a job was stopped before it was done.
type StoppedError struct{ Signal syscall.Signal }

// Error returns one line: "rank 1 (pid 4711) raised ValueError: no such thing".
func (e *RaisedError) Error() string {
	line, _, _ := strings.Cut(strings.TrimSpace(e.Message), "\n")
	return fmt.Sprintf("%s raised %s", e.label(), line)
}

// Error returns one line: "rank 1 (pid 4711) terminated with signal SIGABRT".
func (e *ExitedError) Error() string {
	return fmt.Sprintf("%s %s", e.label(), ExitStatus{Code: e.ExitCode, Signal: e.Signal})
}

func (e *StoppedError) Error() string {
	return "the job was stopped with " + process.SignalName(e.Signal)
}

func (f WorkerFailure) label() string { return fmt.Sprintf("rank %d (pid %d)", f.Rank, f.PID) }

// workerError returns the error for a worker that did not end well.
func workerError(w report.Worker) error {
	f := WorkerFailure{
		Rank: w.Rank, LocalRank: w.LocalRank, PID: w.PID, Host: w.Host,
		Time: w.Ended.UTC(), ExitCode: w.Code, Signal: w.Signal,
	}
	if w.Raised != nil {
		return &RaisedError{WorkerFailure: f, Message: w.Raised.Message,
			Traceback: w.Raised.Traceback, Raised: w.Raised.Time.UTC()}
	}
	return &ExitedError{WorkerFailure: f}
}
