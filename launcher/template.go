package launcher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/internal/forkserver"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/internal/stdio"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// startTemplate starts the template process if the start method is StartForkserver. It does not
// wait for the imports.
func (s *shared) startTemplate(p *plan.Plan) error {
	cfg := s.cfg
	if cfg.StartMethod != StartForkserver {
		return nil
	}
	if !cfg.Subreaper {
		return errors.New("the start method forkserver needs Config.Subreaper: forked workers " +
			"become children of this process only then")
	}
	if err := forkserver.Check(cfg.Argv); err != nil {
		return err
	}
	if s.folder == nil {
		return errors.New("the start method forkserver needs a private folder: set TMPDIR to a " +
			"folder with room, or use --start-method=exec")
	}
	stdout, stderr, done, err := s.templateOutput()
	if err != nil {
		return err
	}
	defer done()
	s.template, err = forkserver.Start(forkserver.Config{
		Argv: cfg.Argv, Environ: templateEnviron(cfg.Environ, p), Folder: s.folder.Path(),
		Preload: append([]string{}, cfg.Preload...),
		Stdout:  stdout, Stderr: stderr,
		Start: s.sup.StartHelper, Ended: s.sup.HelperEnded,
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, s.template.Close)
	s.templateDead = s.template.Dead()
	s.emit(Event{Kind: TemplateStarted, Text: preloadText(cfg.Preload)})
	return nil
}

// templateOutput returns where the template's own output goes. done must be called once the
// template has been started.
func (s *shared) templateOutput() (stdout, stderr *os.File, done func(), err error) {
	if s.cfg.Output != OutputPrefix {
		return os.Stdout, os.Stderr, func() {}, nil
	}
	pipes, err := stdio.NewPipes()
	if err != nil {
		return nil, nil, nil, &StartError{Program: "the template", Err: err,
			Hint: process.ResourceHint(err)}
	}
	out := stdio.NewOutput(s.stdout, s.stderr, 0)
	out.ReadNamed("preload", pipes, nil)
	s.closers = append(s.closers, func() { // called after the template's end
		out.Cut(drainLimit)
		select {
		case <-out.Drained():
		case <-time.After(2 * drainLimit): // a process that a module started may still write
		}
	})
	return pipes.Stdout, pipes.Stderr, pipes.CloseWorkerEnds, nil
}

// templateEnviron returns the template's environment. It sets OMP_NUM_THREADS because libraries
// read it when they are loaded, which happens in the template.
func templateEnviron(inherited []string, p *plan.Plan) []string {
	const name = "OMP_NUM_THREADS"
	w := plan.Worker{Env: map[string]string{}}
	if n, ok := p.Workers[0].Env[name]; ok {
		w.Env[name] = n
	}
	return w.Environ(inherited, nil)
}

// awaitTemplate waits until workers can be forked.
func (s *shared) awaitTemplate(ctx context.Context) error {
	if s.template == nil {
		return nil
	}
	select {
	case <-s.template.Ready():
		return s.templateReady()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// templateEndError returns the error for a template that has ended.
func (s *shared) templateEndError() error {
	return fmt.Errorf("the template process that the workers were forked from %s",
		s.template.Exit())
}

// templateReady returns why the imports failed, or nil and tells observers if they did not.
func (s *shared) templateReady() error {
	if err := s.template.Err(); err != nil {
		s.printTraceback(err)
		return err
	}
	t := templateOf(s.template)
	s.emit(Event{Kind: TemplateReady, PID: t.PID, Template: t})
	return nil
}

// printTraceback prints the traceback of a failed import as if the template had printed it.
func (s *shared) printTraceback(err error) {
	var failed *forkserver.PreloadError
	if !errors.As(err, &failed) || failed.Traceback == "" {
		return
	}
	prefix := ""
	if s.cfg.Output == OutputPrefix {
		prefix = "[preload] "
	}
	text := strings.TrimRight(failed.Traceback, "\n")
	// A Sink never returns an error.
	_, _ = s.stderr.Write([]byte(prefix + strings.ReplaceAll(text, "\n", "\n"+prefix) + "\n"))
}

// templateOf describes a template that is ready, for the report.
func templateOf(t *forkserver.Template) *report.Template {
	f := t.Facts()
	return &report.Template{PID: f.PID, Modules: f.Modules, ImportSeconds: f.Import.Seconds(),
		SharedBytes: f.Shared}
}

func preloadText(modules []string) string {
	if len(modules) == 0 {
		return "starting a template for the workers, without --preload"
	}
	return "importing " + strings.Join(modules, ", ") + " once for all workers"
}
