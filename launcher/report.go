package launcher

import (
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
		if cfg.XIDs != nil { // more may have been told since it ended
			w.XIDs = cfg.XIDs.before(w.Worker, w.Started, w.Ended)
		}
		rep.Workers = append(rep.Workers, w.report(r.Host, r.Root != nil && w.PID == r.Root.PID))
	}
	for _, l := range r.GPULeftovers {
		rep.GPULeftovers = append(rep.GPULeftovers, report.GPUProcess{
			GPU: l.GPU, UUID: l.UUID, PID: l.PID, User: l.User, Command: l.Command, MemoryBytes: l.MemoryBytes,
		})
	}
	rep.Sort()
	return rep
}

func (w WorkerResult) report(host string, root bool) report.Worker {
	rep := report.Worker{
		RootCause: root, Rank: w.Worker.Rank, LocalRank: w.Worker.LocalRank, PID: w.PID, Host: host,
		CPUs: w.Worker.CPUs.String(), Started: w.Started.Round(0), Ended: w.Ended.Round(0),
		ExitCode: w.Exit.ExitCode(), CoreDumped: w.Exit.Core, How: w.how(),
		ErrorFile: w.ErrorFile, LastStderr: w.LastStderr, Silent: w.Silent,
	}
	if w.Exit.Signal != 0 {
		rep.Signal = SignalName(w.Exit.Signal)
	}
	if d := w.Worker.Device; d != nil {
		rep.Device = &report.Device{Index: d.Index, Name: d.Name, UUID: d.UUID, PCI: d.PCIBusID}
	}
	for _, x := range w.XIDs {
		rep.XIDs = append(rep.XIDs, report.XID{Time: x.Time.Round(0), XID: x.XID, Class: string(x.Class), Meaning: x.Meaning, Count: x.Count})
	}
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
	switch w.Exit.Signal {
	case unix.SIGKILL, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2:
		return report.FromOutside
	}
	return report.ByItself
}

func processes(list []Descendant) (out []report.Process) {
	for _, d := range list {
		out = append(out, report.Process{PID: d.PID, Name: d.Name})
	}
	return out
}
