package launcher

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// Report is how the job ended, for people and programs.
func (r Result) Report(p plan.Plan, cfg Config) report.Report {
	rep := report.Report{
		RunID: p.RunID, Host: r.Host, StartMethod: string(cfg.StartMethod),
		WorldSize: p.WorldSize, Nodes: p.Nodes, NodeRank: p.NodeRank,
		Started: r.Started.Round(0), Ended: r.Ended.Round(0),
		ExitCode: r.ExitCode, Restarts: r.Restarts, NotStarted: r.NotStarted,
		Killed: processes(r.Swept), Unkillable: processes(r.Unkillable),
	}
	if cfg.StartMethod == "" {
		rep.StartMethod = string(StartExec)
	}
	if r.Signal != 0 {
		rep.Signal = SignalName(r.Signal)
	}
	if r.Err != nil {
		rep.Error = r.Err.Error()
	}
	if t := r.Template; t != nil {
		rep.Template = &report.Template{PID: t.PID, Modules: t.Modules, ImportSeconds: t.Import.Seconds(), SharedBytes: t.Shared}
	}
	for _, w := range r.Earlier {
		rep.Earlier = append(rep.Earlier, w.report(r.Host, true))
	}
	for _, w := range r.Workers {
		rep.Workers = append(rep.Workers, w.report(r.Host, r.Root != nil && w.PID == r.Root.PID))
	}
	rep.GPULeftovers = r.GPULeftovers
	rep.Sort()
	return rep
}

func (w WorkerResult) report(host string, root bool) report.Worker {
	rep := report.Worker{
		RootCause: root, Rank: w.Worker.Rank, LocalRank: w.Worker.LocalRank, PID: w.PID, Host: host,
		CPUs: w.Worker.CPUs.String(), Started: w.Started.Round(0), Ended: w.Ended.Round(0),
		ExitCode: w.Exit.Code, Signal: w.Exit.Signal, CoreDumped: w.Exit.Core, How: w.how(),
		ErrorFile: w.ErrorFile, LastStderr: w.LastStderr, Silent: w.Silent,
	}
	if d := w.Worker.Device; d != nil {
		rep.Device = &report.Device{Index: d.Index, Name: d.Name, UUID: d.UUID, PCI: d.PCIBusID}
	}
	rep.XIDs = w.XIDs
	if e := w.Raised; e != nil {
		rep.Raised = &report.Raised{Message: e.Message, Traceback: e.Traceback, Time: e.Time}
	}
	return rep
}

// how says who ended the worker. The kernel does not tell a parent who sent the
// signal that its child died of, so it goes by the signal: some come from what the
// process did itself (signal(7): a fault, abort, a closed pipe, an alarm or limit
// of its own), the others, unless the launcher sent them, from outside.
func (w WorkerResult) how() report.How {
	switch {
	case w.Stopped:
		return report.ByLauncher
	case w.Exit.OK():
		return report.Success
	case w.OutOfMemory:
		return report.OutOfMemory
	}
	for _, sig := range []syscall.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2} {
		if w.Exit.EndedBy(sig) {
			return report.FromOutside
		}
	}
	return report.ByItself
}

func processes(list []Descendant) (out []report.Process) {
	for _, d := range list {
		out = append(out, report.Process{PID: d.PID, Name: d.Name})
	}
	return out
}
