package supervisor

import (
	"os"
	"os/exec"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/internal/spawn"
)

// Supervisor controls a job and starts its processes. Its methods may be called from any goroutine.
type Supervisor struct {
	control
	spawner *spawn.Spawner
	keeper  *os.File // the link to the keeper; nil without one
	shares  bool     // this process is in the keeper's process group
	// keeperListens is closed when the keeper has subscribed to its signals, or is gone.
	keeperListens chan struct{}

	childEnded chan os.Signal // nil unless this process is a subreaper
}

// New returns a Supervisor without a keeper, for a program other than gpulaunch. Call Close when
// all children that it started have ended.
func New() *Supervisor {
	s := &Supervisor{spawner: spawn.New()}
	s.init()
	return s
}

// Close ends the thread that starts processes. The kernel then kills the children of that thread
// that are still alive.
func (s *Supervisor) Close() {
	if s.childEnded != nil {
		signal.Stop(s.childEnded)
	}
	s.spawner.Close()
}

// Spawner returns the thread that starts processes.
func (s *Supervisor) Spawner() *spawn.Spawner { return s.spawner }

// StartHelper starts a process that the launcher needs for itself, such as the one that calls NVML.
// The process is in a process group of its own and is killed when this process ends. Call
// HelperEnded after waiting for it.
func (s *Supervisor) StartHelper(cmd *exec.Cmd) error { return s.spawner.Start(cmd) }

// HelperEnded must be called when a helper has been waited for.
func (s *Supervisor) HelperEnded(cmd *exec.Cmd) { s.spawner.Release(cmd.Process.Pid) }

// BecomeSubreaper makes this process the parent of descendants that lose their own (prctl(2),
// PR_SET_CHILD_SUBREAPER), and subscribes to SIGCHLD.
func (s *Supervisor) BecomeSubreaper() error {
	if err := process.BecomeSubreaper(); err != nil {
		return err
	}
	if s.childEnded == nil {
		s.childEnded = make(chan os.Signal, 1) // further SIGCHLD add nothing
		signal.Notify(s.childEnded, unix.SIGCHLD)
	}
	return nil
}

// ChildEnded returns a channel that receives SIGCHLD. It is nil before BecomeSubreaper.
func (s *Supervisor) ChildEnded() <-chan os.Signal { return s.childEnded }
