package launcher

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/internal/errorfile"
	"github.com/gpulaunch/gpulaunch/launcher/internal/forkserver"
	"github.com/gpulaunch/gpulaunch/launcher/internal/monitor"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/internal/spawn"
	"github.com/gpulaunch/gpulaunch/launcher/internal/stdio"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

// shared is what all attempts of a job have in common.
type shared struct {
	cfg     *Config
	sup     *supervisor.Supervisor
	job     spawn.Job
	started time.Time
	folder  *errorfile.Folder // for error files; nil if it could not be made
	host    string

	monitor   *monitor.Monitor
	groupPath string // the folder of the last attempt's control group; "" if it had none

	emitting      sync.Mutex // held while Observe is called, so that events come one at a time
	attemptNumber int        // of the attempt that events belong to

	stdout, stderr *stdio.Sink
	input          *stdio.Input // for rank 0; nil if the standard input is empty
	// template is the process from which workers are forked; nil with StartExec. templateDead is
	// closed when it is gone.
	template     *forkserver.Template
	templateDead <-chan struct{}

	closers []func()
}

// newShared fills in what p and cfg leave out and makes what the job needs. close undoes it.
func newShared(p *plan.Plan, cfg *Config) (*shared, error) {
	s := &shared{cfg: cfg, started: time.Now()}
	s.host, _ = os.Hostname() // "" if the kernel has none
	switch {
	case len(p.Workers) == 0:
		return nil, errors.New("the plan has no workers: make it with plan.New")
	case len(cfg.Argv) == 0:
		return nil,
			errors.New("Config.Argv is empty: it is the workers' command, see Command.Resolve")
	}
	if p.FreePort && p.MasterPort == 0 {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		p.MasterPort = port
	}
	cfg.complete(len(p.Workers))
	s.keepInherited()
	if err := s.supervise(); err != nil {
		s.close()
		return nil, err
	}
	s.stdout, s.stderr = stdio.NewSink(cfg.Stdout, cfg.outputLost),
		stdio.NewSink(cfg.Stderr, cfg.outputLost)
	if cfg.Stdin != nil {
		s.input = stdio.NewInput(cfg.Stdin)
	}
	s.makeFolder()
	s.closers = append(s.closers, s.removeFolder)
	s.monitor = monitor.New(monitor.Options{Plan: *p, GPUs: cfg.GPUs, Before: cfg.Inventory,
		Ours: s.leftProcesses, Observer: s.observer()})
	s.closers = append(s.closers, s.monitor.Close)
	return s, nil
}

// supervise sets up the supervisor and, with Config.Subreaper, the sweep.
func (s *shared) supervise() error {
	if s.sup = s.cfg.Supervisor; s.sup == nil {
		s.sup = supervisor.New()
		s.closers = append(s.closers, s.sup.Close)
	}
	if s.cfg.Debug != nil {
		s.sup.Debug(func(line string) { s.cfg.debug("%s", line) })
	}
	if !s.cfg.Subreaper {
		return nil
	}
	if err := process.CheckProc(); errors.Is(err, process.ErrOtherNamespace) {
		s.cfg.Log("warning: " + err.Error() + "; what workers leave behind cannot be ended")
	}
	if err := s.job.BeginSweep(); err != nil {
		return err
	}
	s.closers = append(s.closers, s.job.EndSweep)
	return s.sup.BecomeSubreaper()
}

// close undoes what newShared and startTemplate did, in reverse order.
func (s *shared) close() {
	for _, c := range slices.Backward(s.closers) {
		c()
	}
}

// makeCgroup makes an attempt's control group, if the plan names a parent for it. If it returns nil,
// the job finds its processes by what the kernel knows of parents and children alone.
//
// Each attempt gets a new group: after cgroup.kill, Linux 6.18 also kills whatever is started into
// the group later (clone3(2), CLONE_INTO_CGROUP).
func (s *shared) makeCgroup(p *plan.Plan) *cgroup.Group {
	if p.Cgroup.Parent == "" {
		return nil
	}
	g, err := cgroup.Make(p.Cgroup.Parent, s.sup.CgroupMade)
	if err != nil {
		return nil
	}
	s.groupPath = g.Path
	return g
}

// endCgroup removes the control group of an attempt that has ended with an exit code. What a job
// that ended well leaves behind on purpose is released from the group first, and lives on.
func (s *shared) endCgroup(g *cgroup.Group, exitCode int) {
	if g == nil {
		return
	}
	if s.cfg.LeaveBehind && exitCode == 0 {
		g.Release()
	} else {
		_ = cgroup.Remove(g.Path, drainLimit) // members that cannot be killed keep it
	}
	g.Close()
}

// leftProcesses returns the pids of the job's processes, after its end: the descendants of this
// process and the members of the control group, if it could not be removed.
func (s *shared) leftProcesses() map[int]bool {
	pids := map[int]bool{}
	if s.cfg.Subreaper { // otherwise other descendants are none of the job's
		list, _ := process.DescendantsExcept(os.Getpid(),
			func(d process.Descendant) bool { return s.job.Spares(d.PID) })
		for _, d := range list {
			pids[d.PID] = true
		}
	}
	for _, pid := range cgroup.Members(s.groupPath) {
		pids[pid] = true
	}
	return pids
}

// freePort finds a TCP port that is free on all addresses. Nothing reserves it, but another program
// is unlikely to get the same port before rank 0 listens on it, because the system hands out ports
// in turn.
//
// It makes four system calls instead of using package net, because that first finds out what the IP
// stack of the machine can do, which takes as long as starting a worker.
func freePort() (port int, err error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	var address unix.Sockaddr = &unix.SockaddrInet6{}
	if err != nil { // a machine without IPv6
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		address = &unix.SockaddrInet4{}
	}
	if err == nil {
		defer unix.Close(fd)
		err = unix.Bind(fd, address) // port 0: the system chooses, ip(7)
	}
	var bound unix.Sockaddr
	if err == nil {
		bound, err = unix.Getsockname(fd)
	}
	if err != nil {
		return 0,
			fmt.Errorf("cannot find a free port for the workers' rendezvous: %w; name one with "+
				"--master-port", err)
	}
	switch a := bound.(type) {
	case *unix.SockaddrInet6:
		port = a.Port
	case *unix.SockaddrInet4:
		port = a.Port
	}
	return port, nil
}
