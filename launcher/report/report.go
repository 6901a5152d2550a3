// Package report describes how a job ended: as plain data ([Report]), as a table for people
// ([Report.Table]) and as a JSON file for programs ([File]).
//
// Use it to show the outcome of a job that you ran, or to read the file that gpulaunch run
// --report wrote: a Report is what that file holds. To run jobs, use package launcher, which
// fills in a Report for each.
//
// To write a file, call [Create] before the job starts: it finds out whether the file can be
// written at all, so that a job of many hours does not end with an error about its report.
//
// # What workers write is not trusted
//
// Messages, tracebacks, lines of the standard error and names of processes come from workers,
// and the table goes to a terminal. Control characters, invisible characters and those that
// change the direction of text are therefore escaped, in the table and in the file. In the
// table, a bar stands before each line that a worker wrote, so that none passes for a line of
// the launcher.
package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/internal/errorfile"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// Report says how a job ended on one machine.
type Report struct {
	// RunID is the job's name.
	RunID string `json:"run_id,omitempty"`
	// Host is the name of this machine.
	Host string `json:"host"`
	// Launcher is "gpulaunch" and its version.
	Launcher string `json:"launcher"`
	// StartMethod says how workers were started: exec or forkserver.
	StartMethod string `json:"start_method"`
	// WorldSize is the number of workers on all machines, Nodes the number of machines,
	// and NodeRank the number of this machine, from 0.
	WorldSize int `json:"world_size"`
	Nodes     int `json:"nodes"`
	NodeRank  int `json:"node_rank"`
	// Started and Ended are the times of the job, including all attempts.
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	// ExitCode is the exit code of the launcher, 0 to 255.
	ExitCode int `json:"exit_code"`
	// Signal is the name of the signal with which the user stopped the job, if they did.
	Signal string `json:"signal,omitempty"`
	// Error says why the launcher could not do its work, if it could not.
	Error string `json:"error,omitempty"`
	// Restarts is how many times all workers were started again.
	Restarts int `json:"restarts"`
	// NotStarted is how many workers were never started, because one had already failed.
	NotStarted int `json:"not_started,omitempty"`
	// RestartDelaySeconds is how long the job has waited before restarts, in total.
	RestartDelaySeconds float64 `json:"restart_delay_seconds,omitempty"`
	// Earlier holds the root causes of the attempts before the last, in order: those of the first
	// 16 and of the latest 16. EarlierLeftOut is how many there were in between. The long texts of
	// all but the first and the latest are shortened.
	Earlier        []Worker `json:"earlier_failures,omitempty"`
	EarlierLeftOut int      `json:"earlier_failures_left_out,omitempty"`
	// Template describes the process that workers were forked from, if there was one.
	Template *Template `json:"template,omitempty"`
	// Workers holds the workers of the last attempt.
	Workers []Worker `json:"workers"`
	// Killed holds processes that workers left behind and that the launcher killed,
	// Unkillable holds processes of the job that are still running.
	Killed     []Process `json:"killed_leftovers,omitempty"`
	Unkillable []Process `json:"unkillable,omitempty"`
	// GPULeftovers holds processes that are on the job's GPUs after the job and that were
	// not there before it.
	GPULeftovers []GPUProcess `json:"gpu_leftovers,omitempty"`
}

// Worker says how one worker ended.
type Worker struct {
	// RootCause is true for the first worker that failed by itself.
	RootCause bool `json:"root_cause"`
	// Attempt is the number of the attempt that the worker belonged to, from 0.
	Attempt int `json:"attempt"`
	// Rank is the worker's number among those of all machines, LocalRank among those of
	// this machine, from 0.
	Rank      int `json:"rank"`
	LocalRank int `json:"local_rank"`
	PID       int `json:"pid"`
	// Host is the name of the machine that the worker ran on.
	Host string `json:"host"`
	// Device is nil for a worker without a GPU.
	Device *Device `json:"device,omitempty"`
	// CPUs lists the CPUs that the worker was bound to, such as "0-3,8".
	CPUs    string    `json:"cpus"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	// ExitStatus says how the worker ended.
	ExitStatus
	How How `json:"how"`
	// Raised is the exception that the worker wrote to its error file.
	Raised *Raised `json:"raised,omitempty"`
	// ErrorFile says why the worker's error file could not be used.
	ErrorFile string `json:"error_file_problem,omitempty"`
	// XIDs holds errors that the driver reported for the worker's GPU, from five minutes
	// before the worker's end to a second after it: each error once, the earliest first, at
	// most 32. From the time before the worker's start there are only fatal errors.
	XIDs []XID `json:"xids,omitempty"`
	// GPULost says that the worker's GPU was found to be lost, before the worker ended or
	// afterwards. It is nil for a worker that ended well.
	GPULost *GPULoss `json:"gpu_lost,omitempty"`
	// LastStderr holds the last lines of the worker's standard error, oldest first.
	LastStderr []string `json:"last_stderr,omitempty"`
	// Silent is true if the worker is known to have written nothing there. It is false if
	// its standard error was not seen.
	Silent bool `json:"stderr_empty,omitempty"`
}

// How says who ended a worker.
type How string

// The ways in which a worker can end.
const (
	Success     How = "success"
	ByItself    How = "by itself"
	OutOfMemory How = "out of memory"
	// ByLauncher means that the launcher stopped the worker, because another worker had
	// failed or the user had stopped the job.
	ByLauncher  How = "killed by the launcher"
	FromOutside How = "killed from outside"
)

// ExitStatus says how a process ended.
type ExitStatus = process.ExitStatus

// Device is the GPU, or the MIG instance of one, of a worker. In JSON it has index, name,
// uuid and pci (the address, such as "0000:4a:00.0").
type Device plan.Device

// deviceJSON is a Device in JSON.
type deviceJSON struct {
	Index int    `json:"index"`
	Name  string `json:"name"`
	UUID  string `json:"uuid"`
	PCI   string `json:"pci"`
}

// MarshalJSON writes the device as reports have it.
func (d Device) MarshalJSON() ([]byte, error) {
	return json.Marshal(deviceJSON{d.Index, d.Name, d.UUID, d.PCIBusID})
}

// UnmarshalJSON reads a device as reports have it.
func (d *Device) UnmarshalJSON(data []byte) error {
	var j deviceJSON
	err := json.Unmarshal(data, &j)
	*d = Device{Index: j.Index, Name: j.Name, UUID: j.UUID, PCIBusID: j.PCI}
	return err
}

// Raised is the exception that ended a worker, as it wrote it to its error file.
type Raised = errorfile.Record

// XID is an error of a GPU, with the driver's number for it.
type XID struct {
	// Time is when the error was first reported.
	Time time.Time `json:"time"`
	XID  uint64    `json:"xid"`
	// Class is application, fatal or other.
	Class   string `json:"class"`
	Meaning string `json:"meaning"`
	Count   uint64 `json:"count"`
}

// GPULoss says when a GPU was found to be lost, and how.
type GPULoss struct {
	// Time is when it was noticed. The loss itself may have been up to some seconds earlier.
	Time time.Time `json:"time"`
	// Reason is NVML's error, or that NVML no longer lists the GPU.
	Reason string `json:"reason"`
}

// The classes of XID errors that make a worker fail.
const (
	xidFatal       = "fatal"
	xidApplication = "application"
)

// xidTornDown reports that a process was terminated while it used the GPU. This is usually a
// consequence of another error, so it is never shown as the cause.
const xidTornDown = 45

// probableXID returns the XID error that probably made the worker fail: the first fatal one,
// else the first that the application caused. It returns nil if there is none.
func (w Worker) probableXID() *XID {
	for _, class := range []string{xidFatal, xidApplication} {
		for i, x := range w.XIDs {
			if x.Class == class && x.XID != xidTornDown {
				return &w.XIDs[i]
			}
		}
	}
	return nil
}

// GPUProcess is a process on a GPU. Fields that are not known have their zero value.
type GPUProcess struct {
	// GPU is the GPU's number in the order of PCI addresses.
	GPU         int    `json:"gpu"`
	UUID        string `json:"uuid"`
	PID         int    `json:"pid"`
	User        string `json:"user,omitempty"`
	Command     string `json:"command,omitempty"`
	MemoryBytes uint64 `json:"memory_bytes,omitempty"`
}

// Process is a process other than a worker.
type Process = process.Descendant

// Template describes the process that workers were forked from.
type Template struct {
	PID int `json:"pid"`
	// Modules lists the Python modules that it imported for all workers.
	Modules []string `json:"modules"`
	// ImportSeconds is how long the imports took.
	ImportSeconds float64 `json:"import_seconds"`
	// SharedBytes is how much of its memory the workers shared.
	SharedBytes int64 `json:"shared_bytes"`
}

// String returns one phrase: "imported torch in 1.9s; workers share 180 MiB of memory".
func (t Template) String() string {
	text := "the template is ready"
	if len(t.Modules) > 0 {
		took := time.Duration(t.ImportSeconds * float64(time.Second)).Round(10 * time.Millisecond)
		text = fmt.Sprintf("imported %s in %s", strings.Join(t.Modules, ", "), took)
	}
	if t.SharedBytes > 0 {
		text += fmt.Sprintf("; workers share %d MiB of memory", t.SharedBytes>>20)
	}
	return text
}

// Failed reports whether the worker failed by itself, rather than having been stopped by the
// launcher.
func (w Worker) Failed() bool {
	return w.RootCause || !w.OK() && w.How != ByLauncher
}

// Stopped reports whether the launcher ended the worker, which is then no failure of its own.
func (w Worker) Stopped() bool { return w.How == ByLauncher }

// Label names the worker and its process: "rank 1 (pid 4711, GPU 1)".
func (w Worker) Label() string {
	return plan.Worker{Rank: w.Rank, Device: (*plan.Device)(w.Device)}.Label(w.PID)
}

// String returns one phrase: "rank 1 (pid 4711, GPU 1) exited with code 3 after 1.2s".
func (w Worker) String() string {
	lived := w.Ended.Sub(w.Started)
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if lived > 60*unit {
			lived = lived.Round(unit)
			break
		}
	}
	return fmt.Sprintf("%s %s after %s", w.Label(), w.ExitStatus, lived)
}

// Root returns the root cause, nil if no worker failed by itself.
func (r *Report) Root() *Worker {
	for i := range r.Workers {
		if r.Workers[i].RootCause {
			return &r.Workers[i]
		}
	}
	return nil
}

// Sort puts the most interesting workers first: the root cause, other workers that failed,
// workers that succeeded, and workers that the launcher stopped. Within each of these, workers
// are sorted by the time when they ended, then by rank.
func (r *Report) Sort() {
	slices.SortFunc(r.Workers, func(a, b Worker) int {
		group := cmp.Compare(a.sortGroup(), b.sortGroup())
		return cmp.Or(group, a.Ended.Compare(b.Ended), cmp.Compare(a.Rank, b.Rank))
	})
}

func (w Worker) sortGroup() int {
	switch {
	case w.RootCause:
		return 0
	case w.Failed():
		return 1
	case w.How != ByLauncher:
		return 2
	}
	return 3
}
