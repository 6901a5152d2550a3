package launcher

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/internal/forkserver"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// Template is what is known of the process that workers are forked from.
type Template struct {
	PID     int
	Modules []string
	// Import is how long importing them took.
	Import time.Duration
	// Shared is the memory, in bytes, that the imports filled and that workers
	// share with the template until one of them writes to it; 0 if unknown.
	Shared int64
}

// startTemplate starts the template process if there is to be one; it does not
// wait for the imports.
func (s *stage) startTemplate(p *plan.Plan) error {
	cfg := s.cfg
	if cfg.StartMethod != StartForkserver {
		return nil
	}
	if !cfg.Subreaper {
		return errors.New("the start method forkserver needs Config.Subreaper: forked workers become children of this process only then")
	}
	if err := forkserver.Check(cfg.Argv); err != nil {
		return err
	}
	if s.folder == nil {
		return errors.New("the start method forkserver needs a private folder: set TMPDIR to a folder with room, or use --start-method=exec")
	}
	stdout, stderr, done, err := s.templateOutput()
	if err != nil {
		return err
	}
	defer done()
	s.template, err = forkserver.Start(forkserver.Config{
		Argv: cfg.Argv, Environ: templateEnviron(cfg.Environ, p), Folder: s.folder.Path(), Preload: append([]string{}, cfg.Preload...),
		Stdout: stdout, Stderr: stderr,
		Start: cfg.Spawner.Start, Ended: func(c *exec.Cmd) { cfg.Spawner.Release(c.Process.Pid) },
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, s.template.Close)
	s.templateDead = s.template.Dead()
	cfg.tell(0, Event{Kind: TemplateStarted, Text: preloading(cfg.Preload)})
	return nil
}

// templateOutput is where the template's own output goes; done after it started.
func (s *stage) templateOutput() (stdout, stderr *os.File, done func(), err error) {
	if s.cfg.Output != OutputPrefix {
		return os.Stdout, os.Stderr, func() {}, nil
	}
	out := &outputs{stdout: s.cfg.Stdout, stderr: s.cfg.Stderr}
	prefix := []byte("[preload] ")
	if stdout, err = out.pipe(out.stdout, prefix, nil); err != nil {
		return nil, nil, nil, err
	}
	stderr, err = out.pipe(out.stderr, prefix, nil)
	if err != nil {
		stdout.Close()
		return nil, nil, nil, err
	}
	s.closers = append(s.closers, func() { // after the template's end
		out.cut(drainLimit)
		select {
		case <-out.drained():
		case <-time.After(2 * drainLimit): // a process that a module started goes on writing
		}
	})
	return stdout, stderr, func() { stdout.Close(); stderr.Close() }, nil
}

// templateEnviron is the template's environment. Libraries of threads read
// OMP_NUM_THREADS when they are loaded, which is in the template.
func templateEnviron(inherited []string, p *plan.Plan) []string {
	const name = "OMP_NUM_THREADS"
	w := plan.Worker{Env: map[string]string{}}
	if n, ok := p.Workers[0].Env[name]; ok {
		w.Env[name] = n
	}
	return w.Environ(inherited, nil)
}

// awaitTemplate waits until workers can be forked.
func (s *stage) awaitTemplate() error {
	if s.template == nil {
		return nil
	}
	<-s.template.Ready()
	return s.templateReady()
}

// templateReady tells how the imports went.
func (s *stage) templateReady() error {
	if err := s.template.Err(); err != nil {
		s.printTraceback(err)
		return err
	}
	t := templateOf(s.template)
	s.cfg.tell(0, Event{Kind: TemplateReady, PID: t.PID, Template: t})
	return nil
}

// printTraceback prints where a preload failed as if the template had.
func (s *stage) printTraceback(err error) {
	var failed *forkserver.PreloadError
	if !errors.As(err, &failed) || failed.Traceback == "" {
		return
	}
	prefix := ""
	if s.cfg.Output == OutputPrefix {
		prefix = "[preload] "
	}
	text := strings.TrimRight(failed.Traceback, "\n")
	_, _ = s.cfg.Stderr.Write([]byte(prefix + strings.ReplaceAll(text, "\n", "\n"+prefix) + "\n")) // a Sink takes all
}

func templateOf(t *forkserver.Template) *Template {
	f := t.Facts()
	return &Template{PID: f.PID, Modules: f.Modules, Import: f.Import, Shared: f.Shared}
}

// String is one phrase: "imported torch in 1.9s; workers share 180 MiB of memory".
func (t Template) String() string {
	text := "the template is ready"
	if len(t.Modules) > 0 {
		text = fmt.Sprintf("imported %s in %s", strings.Join(t.Modules, ", "), t.Import.Round(10*time.Millisecond))
	}
	if t.Shared > 0 {
		text += fmt.Sprintf("; workers share %d MiB of memory", t.Shared>>20)
	}
	return text
}

func preloading(modules []string) string {
	if len(modules) == 0 {
		return "starting a template for the workers, without --preload"
	}
	return "importing " + strings.Join(modules, ", ") + " once for all workers"
}

// spawn starts one worker by the job's start method.
func (g *Group) spawn(sp spec) (pid, pidfd int, err error) {
	if g.template == nil {
		return g.cfg.Spawner.forkExec(sp)
	}
	// A template may hang (stopped, swapped out), and the job must not.
	g.forking = true
	go func() {
		p, fd, e := g.cfg.Spawner.fork(g.template, sp)
		g.post(func() { pid, pidfd, err, g.forking = p, fd, e, false })
	}()
	for g.forking {
		g.await()
	}
	return pid, pidfd, err
}

// fork starts a worker from the template. The kernel has made it this process's
// child by the time it is adopted (prctl(2), PR_SET_CHILD_SUBREAPER), so it is
// waited for, signalled and swept like any other.
func (s *Spawner) fork(t *forkserver.Template, sp spec) (pid, pidfd int, err error) {
	pidfd = -1
	fs := forkserver.Spec{Memory: memoryCalls(sp), Env: sp.env, CPUs: slices.Collect(sp.cpus.All()), Files: sp.files}
	adopted := 0
	pid, err = t.Fork(fs, func(pid int) (err error) {
		pidfd, err = adopt(pid, sp)
		if err == nil {
			adopted = pid
		}
		return err
	})
	if err == nil {
		return pid, pidfd, nil
	}
	if adopted != 0 { // and killed again
		_, _ = process.RetryEINTR(func() (int, error) { return unix.Wait4(adopted, nil, 0, nil) })
		s.Release(adopted)
	}
	if pidfd >= 0 {
		unix.Close(pidfd)
	}
	return 0, -1, err
}

// memoryCalls are the system calls with which a forked worker sets its memory policy.
func memoryCalls(sp spec) (calls []forkserver.MemoryCall) {
	for _, m := range affinity.MemoryModes(sp.memory, affinity.CPUs(sp.memoryNodes...)) {
		calls = append(calls, forkserver.MemoryCall{Number: unix.SYS_SET_MEMPOLICY, Mode: m.Mode, Nodes: slices.Collect(m.Nodes.All())})
	}
	return calls
}

// adopt enters a forked worker into the books while it still waits to be told
// what to be, so that nobody takes it for an orphan.
func adopt(pid int, sp spec) (pidfd int, err error) {
	books.Lock()
	defer books.Unlock()
	pidfd, err = unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, fmt.Errorf("the forked worker process %d cannot be watched: %w", pid, err)
	}
	books.owned[pid] = sp.job
	if cg := sp.cgroup; cg != nil {
		_ = cg.Add(pid) // as with exec, a hierarchy that will not have it is no reason to fail
	}
	return pidfd, nil
}
