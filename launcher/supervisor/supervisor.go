package supervisor

import (
	"os"
	"os/exec"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/internal/spawn"
)

// Supervisor is what surrounds a job. Its methods may be called from any goroutine.
type Supervisor struct {
	control
	spawner *spawn.Spawner
	keeper  *os.File // the link; nil without a keeper

	childEnded chan os.Signal // nil unless this process is a subreaper
}

// New makes a Supervisor without a keeper, for a program that is not gpulaunch itself.
// Close it when no child that it started is left.
func New() *Supervisor {
	s := &Supervisor{spawner: spawn.New()}
	s.init()
	return s
}

// Close ends the thread that starts processes. Children that are still alive are killed by
// the kernel.
func (s *Supervisor) Close() {
	if s.childEnded != nil {
		signal.Stop(s.childEnded)
	}
	s.spawner.Close()
}

// Spawner is the thread that starts processes.
func (s *Supervisor) Spawner() *spawn.Spawner { return s.spawner }

// StartHelper starts a process of the launcher's own, as the one that asks NVML. It is in
// a process group of its own and dies with this process. HelperEnded must be called once it
// has been waited for.
func (s *Supervisor) StartHelper(cmd *exec.Cmd) error { return s.spawner.Start(cmd) }

// HelperEnded says that a helper has been waited for.
func (s *Supervisor) HelperEnded(cmd *exec.Cmd) { s.spawner.Release(cmd.Process.Pid) }

// BecomeSubreaper makes this process the one that descendants come to when they lose their
// parent (prctl(2), PR_SET_CHILD_SUBREAPER), and begins to receive SIGCHLD.
func (s *Supervisor) BecomeSubreaper() error {
	if err := process.BecomeSubreaper(); err != nil {
		return err
	}
	if s.childEnded == nil {
		s.childEnded = make(chan os.Signal, 1) // one SIGCHLD is as good as many
		signal.Notify(s.childEnded, unix.SIGCHLD)
	}
	return nil
}

// ChildEnded has a value after SIGCHLD; it is nil before BecomeSubreaper.
func (s *Supervisor) ChildEnded() <-chan os.Signal { return s.childEnded }
