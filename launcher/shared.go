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
	"github.com/gpulaunch/gpulaunch/launcher/internal/spawn"
	"github.com/gpulaunch/gpulaunch/launcher/internal/stdio"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

// shared is what the attempts of one job share.
type shared struct {
	cfg     *Config
	sup     *supervisor.Supervisor
	job     spawn.Job
	started time.Time
	folder  *errorfile.Folder // nil without one
	host    string

	monitor *monitor.Monitor

	observing sync.Mutex // events come one at a time
	number    int        // of the attempt that they belong to

	stdout, stderr *stdio.Sink
	input          *stdio.Input // nil for empty standard input
	// template is what workers are forked from, nil with StartExec; templateDead is closed
	// when it is gone.
	template     *forkserver.Template
	templateDead <-chan struct{}

	closers []func()
}

// newShared completes the plan and cfg and makes what a job needs besides. close undoes it.
func newShared(p *plan.Plan, cfg *Config) (*shared, error) {
	s := &shared{cfg: cfg, started: time.Now()}
	s.host, _ = os.Hostname() // "" where there is none
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
	s.monitor = monitor.New(monitor.Options{Plan: *p, GPUs: cfg.GPUs, Before: cfg.Inventory,
		Observer: s.observer()})
	s.closers = append(s.closers, s.monitor.Close)
	return s, nil
}

// supervise sets up what is around the job.
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
	if err := s.job.BeginSweep(); err != nil {
		return err
	}
	s.closers = append(s.closers, s.job.EndSweep)
	return s.sup.BecomeSubreaper()
}

// close undoes what was made, the last first.
func (s *shared) close() {
	for _, c := range slices.Backward(s.closers) {
		c()
	}
}

// makeFolder makes the private folder for error files.
func (s *shared) makeFolder() {
	folder, err := errorfile.Make()
	if err != nil {
		s.cfg.Log(fmt.Sprintf("workers cannot leave error files: %v; set TMPDIR to a folder "+
			"with room", err))
		return
	}
	s.folder = folder
	s.sup.FolderMade(folder.Path())
	s.closers = append(s.closers, folder.Remove)
}

// makeCgroup makes an attempt's control group, where there can be one, and gives what
// removes it. Without one, what the kernel knows of parents and children has to do. A
// further attempt gets a new one: after cgroup.kill Linux 6.18 also kills whatever is
// started into the group later (clone3(2), CLONE_INTO_CGROUP).
func (s *shared) makeCgroup(p *plan.Plan) (g *cgroup.Group, remove func()) {
	if p.Cgroup.Parent == "" {
		return nil, func() {}
	}
	g, err := cgroup.Make(p.Cgroup.Parent, s.sup.CgroupMade)
	if err != nil {
		return nil, func() {}
	}
	return g, func() {
		_ = cgroup.Remove(g.Path, drainLimit) // what may not be killed, or cannot, keeps it
		g.Close()
	}
}

// freePort finds a TCP port that nobody uses on any address. It is free until it is used:
// the system hands out ports in turn, so another program is unlikely to get the same one in
// the moment until rank 0 listens on it.
//
// It does so with four system calls, because package net first finds out what the machine's
// IP stack can do, which takes as long as starting a worker.
func freePort() (port int, err error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	var any unix.Sockaddr = &unix.SockaddrInet6{}
	if err != nil { // a machine without IPv6
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		any = &unix.SockaddrInet4{}
	}
	if err == nil {
		defer unix.Close(fd)
		err = unix.Bind(fd, any) // port 0: the system chooses, ip(7)
	}
	var got unix.Sockaddr
	if err == nil {
		got, err = unix.Getsockname(fd)
	}
	if err != nil {
		return 0,
			fmt.Errorf("cannot find a free port for the workers' rendezvous: %w; name one with "+
				"--master-port", err)
	}
	switch a := got.(type) {
	case *unix.SockaddrInet6:
		port = a.Port
	case *unix.SockaddrInet4:
		port = a.Port
	}
	return port, nil
}
