// Package report says how a job ended: as plain data ([Report]), as a table for
// people ([Report.Table]) and as a JSON file for programs ([File]).
//
// It knows nothing of processes. Whoever ran the job fills in a Report; everything
// here is a function of it.
//
// # What workers say is not trusted
//
// Messages, tracebacks, lines of the standard error and process names come from
// workers, and the table goes to a terminal. Control characters and what reverses
// the direction of text are therefore shown as escapes, in the table and in the
// file, and in the table each line of a worker's has a bar before it, so that none
// passes for a line of the launcher's.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Report is how a job ended on one machine.
type Report struct {
	// RunID is the job's name.
	RunID string `json:"run_id,omitempty"`
	// Host is this machine's name.
	Host string `json:"host"`
	// Launcher is "gpulaunch" and its version.
	Launcher string `json:"launcher"`
	// StartMethod is how workers were started: exec or forkserver.
	StartMethod string `json:"start_method"`
	// WorldSize is the number of workers on all machines, Nodes that of the
	// machines; NodeRank is which of them this is, from 0.
	WorldSize int `json:"world_size"`
	Nodes     int `json:"nodes"`
	NodeRank  int `json:"node_rank"`
	// Started and Ended are those of the job, all attempts included.
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	// ExitCode is what the launcher exits with, 0 to 255.
	ExitCode int `json:"exit_code"`
	// Signal is the name of the signal that the user stopped the job with, if he did.
	Signal string `json:"signal,omitempty"`
	// Error is why the launcher could not do its work, if it could not.
	Error string `json:"error,omitempty"`
	// Restarts is how often all workers were started again.
	Restarts int `json:"restarts"`
	// NotStarted is how many workers were never started, because one had already failed.
	NotStarted int `json:"not_started,omitempty"`
	// Earlier are the root causes of the attempts before the last, in their order.
	Earlier []Worker `json:"earlier_failures,omitempty"`
	// Template is the process that workers were forked from, if there was one.
	Template *Template `json:"template,omitempty"`
	// Workers are those of the last attempt.
	Workers []Worker `json:"workers"`
	// Killed are processes that workers left behind, Unkillable those of the job
	// that are still there.
	Killed     []Process `json:"killed_leftovers,omitempty"`
	Unkillable []Process `json:"unkillable,omitempty"`
	// GPULeftovers are processes that stayed on the GPUs of the job after it and had
	// not been there before.
	GPULeftovers []GPUProcess `json:"gpu_leftovers,omitempty"`
}

// Worker is how one worker ended.
type Worker struct {
	// RootCause says that this is the first worker that failed by itself.
	RootCause bool `json:"root_cause"`
	// Rank counts workers on all machines, LocalRank those on this one, from 0.
	Rank      int `json:"rank"`
	LocalRank int `json:"local_rank"`
	PID       int `json:"pid"`
	// Host is the machine that the worker ran on.
	Host string `json:"host"`
	// Device is nil for a worker without a GPU.
	Device *Device `json:"device,omitempty"`
	// CPUs are those that the worker was bound to, as "0-3,8".
	CPUs    string    `json:"cpus"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	// ExitCode is 0 to 255, as a shell shows it: 128 plus the number of the signal
	// for a worker that a signal ended.
	ExitCode int `json:"exit_code"`
	// Signal is that signal's name, as "SIGABRT".
	Signal     string `json:"signal,omitempty"`
	CoreDumped bool   `json:"core_dumped"`
	How        How    `json:"how"`
	// Raised is what the worker wrote to its error file.
	Raised *Raised `json:"raised,omitempty"`
	// ErrorFile is why the worker's error file could not be used.
	ErrorFile string `json:"error_file_problem,omitempty"`
	// XIDs are errors that the driver reported of the worker's GPU in the five minutes
	// before its end, and the second after it: each once, the earliest first, no more
	// than 32. Of those before its start, only fatal ones.
	XIDs []XID `json:"xids,omitempty"`
	// LastStderr are the last lines of the worker's standard error, oldest first.
	LastStderr []string `json:"last_stderr,omitempty"`
	// Silent says that it wrote nothing there, rather than that nothing is known of it.
	Silent bool `json:"stderr_empty,omitempty"`
}

// How is by whose doing a worker ended.
type How string

// The ways to end.
const (
	Success     How = "success"
	ByItself    How = "by itself"
	OutOfMemory How = "out of memory"
	// ByLauncher: the worker was asked to end, or killed, because another one had
	// failed or the user wished it.
	ByLauncher  How = "killed by the launcher"
	FromOutside How = "killed from outside"
)

// Device is a GPU, or a MIG instance of one.
type Device struct {
	// Index is the GPU's, in the order of PCI addresses.
	Index int    `json:"index"`
	Name  string `json:"name"`
	UUID  string `json:"uuid"`
	// PCI is the address, as "0000:4a:00.0".
	PCI string `json:"pci"`
}

// Raised is an exception that a worker ended with.
type Raised struct {
	Message   string `json:"message"`
	Traceback string `json:"traceback"`
	// Time is when it was raised, zero when that is unknown.
	Time time.Time `json:"time,omitzero"`
}

// XID is an error of a GPU, by the driver's number.
type XID struct {
	// Time is when it was reported first.
	Time time.Time `json:"time"`
	XID  uint64    `json:"xid"`
	// Class is application, fatal or other.
	Class   string `json:"class"`
	Meaning string `json:"meaning"`
	Count   uint64 `json:"count"`
}

// The classes of XIDs that make a worker fail.
const (
	xidFatal       = "fatal"
	xidApplication = "application"
)

// xidTornDown says that a process was ended while it used the GPU: a consequence,
// as a rule, and never taken for a cause.
const xidTornDown = 45

// cause is the XID that a failure probably comes from, nil without one: the first
// fatal one, else the first of the application's.
func (w Worker) cause() *XID {
	for _, class := range []string{xidFatal, xidApplication} {
		for i, x := range w.XIDs {
			if x.Class == class && x.XID != xidTornDown {
				return &w.XIDs[i]
			}
		}
	}
	return nil
}

// GPUProcess is a process on a GPU. What nobody knows of it is left out.
type GPUProcess struct {
	// GPU is the index, in the order of PCI addresses.
	GPU         int    `json:"gpu"`
	UUID        string `json:"uuid"`
	PID         int    `json:"pid"`
	User        string `json:"user,omitempty"`
	Command     string `json:"command,omitempty"`
	MemoryBytes uint64 `json:"memory_bytes,omitempty"`
}

// Process is a process that is no worker.
type Process struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
}

// Template is the process that workers were forked from.
type Template struct {
	PID int `json:"pid"`
	// Modules are those that it had imported for all workers.
	Modules []string `json:"modules"`
	// ImportSeconds is how long that took.
	ImportSeconds float64 `json:"import_seconds"`
	// SharedBytes is how much of its memory workers shared.
	SharedBytes int64 `json:"shared_bytes"`
}

// Exit is how the worker ended, in words: "exited with code 3", "terminated with
// signal SIGSEGV (core dumped)".
func (w Worker) Exit() string {
	if w.Signal == "" {
		return fmt.Sprintf("exited with code %d", w.ExitCode)
	}
	// A signal without a name comes as "signal 40".
	phrase := "terminated with signal " + strings.TrimPrefix(w.Signal, "signal ")
	if w.CoreDumped {
		phrase += " (core dumped)"
	}
	return phrase
}

// failed reports whether it was the worker that went wrong.
func (w Worker) failed() bool {
	return w.RootCause || w.ExitCode != 0 && w.How != ByLauncher
}

// Sort puts the workers in the order of interest: the root cause, others that
// failed, those that succeeded, and those that the launcher ended; each group by
// the time of the end, then by rank.
func (r *Report) Sort() {
	slices.SortFunc(r.Workers, func(a, b Worker) int {
		return cmp.Or(cmp.Compare(a.group(), b.group()), a.Ended.Compare(b.Ended), cmp.Compare(a.Rank, b.Rank))
	})
}

func (w Worker) group() int {
	switch {
	case w.RootCause:
		return 0
	case w.failed():
		return 1
	case w.How != ByLauncher:
		return 2
	}
	return 3
}
