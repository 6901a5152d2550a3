package launcher

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/internal/errorfile"
	"github.com/gpulaunch/gpulaunch/launcher/internal/forkserver"
	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// stage is what the attempts of one job share.
type stage struct {
	cfg     *Config
	started time.Time
	folder  *errorfile.Folder // nil without one
	host    string
	// template is what workers are forked from, nil with StartExec; templateDead is
	// closed when it is gone.
	template     *forkserver.Template
	templateDead <-chan struct{}

	closers []func()
}

// newStage completes the plan and cfg and makes what a job needs besides. close it.
func newStage(p *plan.Plan, cfg *Config) (*stage, error) {
	s := &stage{cfg: cfg, started: time.Now()}
	s.host, _ = os.Hostname() // "" where there is none
	if p.FreePort && p.MasterPort == 0 {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		p.MasterPort = port
	}
	switch {
	case len(p.Workers) == 0:
		return nil, errors.New("the plan has no workers: make it with NewPlan")
	case len(cfg.Argv) == 0:
		return nil, errors.New("Config.Argv is empty: it is the workers' command, see Command.Resolve")
	}
	if cfg.Subreaper {
		if err := s.sweep(); err != nil {
			return nil, err
		}
		s.closers = append(s.closers, s.swept)
	}
	closers, err := cfg.complete(len(p.Workers))
	if err != nil {
		s.close()
		return nil, err
	}
	s.closers = append(s.closers, closers...)
	s.makeFolder()
	return s, nil
}

// close undoes what was made, the last first.
func (s *stage) close() {
	for _, c := range slices.Backward(s.closers) {
		c()
	}
}

// makeFolder makes the private folder for error files.
func (s *stage) makeFolder() {
	folder, err := errorfile.Make()
	if err != nil {
		s.cfg.Log(fmt.Sprintf("workers cannot leave error files: %v; set TMPDIR to a folder with room", err))
		return
	}
	s.folder = folder
	s.cfg.Keeper.tell(link.Folder, folder.Path())
	s.closers = append(s.closers, folder.Remove)
}

// makeCgroup makes an attempt's control group, where there can be one, and gives
// what removes it. Without one the kernel's books of parents and children do. A
// further attempt gets a new one: after cgroup.kill Linux 6.18 also kills whatever
// is started into the group later (clone3(2), CLONE_INTO_CGROUP).
func (s *stage) makeCgroup(p *plan.Plan) (g *cgroup.Group, remove func()) {
	if p.Cgroup.Parent == "" {
		return nil, func() {}
	}
	g, err := cgroup.Make(p.Cgroup.Parent, func(path string) { s.cfg.Keeper.tell(link.Cgroup, path) })
	if err != nil {
		return nil, func() {}
	}
	return g, func() {
		_ = cgroup.Remove(g.Path, drainLimit) // what may not be killed, or cannot, keeps it
		g.Close()
	}
}
