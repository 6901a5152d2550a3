//go:build linux

package forkserver

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

//go:embed template.py
var program []byte

// hook is the program's name in its folder: the module that Python imports before
// it runs a script.
const hook = "sitecustomize.py"

// Config says what a template is.
type Config struct {
	// Argv is the program of the workers as launcher.Command.Resolve gives it:
	// [python, "-u", ("-m",) script or module, arguments…].
	Argv []string
	// Environ is the template's environment. Python itself and libraries read some
	// variables when they start or are imported (PYTHON…, LC_…, OMP_NUM_THREADS), so
	// it should hold what the workers have in common.
	Environ []string
	// Folder is private to this template and exists. The template's program goes
	// there, and so may Python's compiled form of it.
	Folder string
	// Preload are the modules to import, in order.
	Preload []string
	// Stdout and Stderr are the template's own: modules may print when imported. nil is
	// /dev/null.
	Stdout, Stderr *os.File
	// Start starts the process, in a group of its own and so that it dies with this
	// one. nil means (*exec.Cmd).Start.
	Start func(*exec.Cmd) error
	// Ended, if not nil, is called once the process has been waited for.
	Ended func(*exec.Cmd)
}

// Facts describe a template.
type Facts struct {
	PID int
	// Modules are those that were asked for.
	Modules []string
	// Import is how long importing them took.
	Import time.Duration
	// Shared is how many bytes of anonymous memory the template had right after the
	// imports: workers share it until one of them writes (fork(2)). 0 if unknown.
	Shared int64
}

// PreloadError says that a module to be preloaded is at fault.
type PreloadError struct {
	// Module is its name, "" if it is not known which one.
	Module string
	// Text is one line.
	Text string
	// Traceback is Python's, of many lines, or empty.
	Traceback string
}

func (e *PreloadError) Error() string { return e.Text }

// errClosed is what becomes of a template that is closed.
var errClosed = errors.New("the template has been closed")

// Template is a Python process that workers are forked from. Its methods may be
// called from any goroutine.
type Template struct {
	cmd  *exec.Cmd
	link *net.UnixConn
	// ready and dead are closed once; what stands behind each is written before.
	ready, dead chan struct{}
	facts       Facts
	err         error
	exit        string

	closing  sync.Once
	closed   chan struct{} // by Close
	oneByOne sync.Mutex    // Fork
}

// Check refuses a program that cannot be forked from a template.
func Check(argv []string) error {
	if len(argv) >= 3 && argv[1] == "-u" && (strings.HasSuffix(argv[2], ".py") || argv[2] == "-m" && len(argv) >= 4) {
		return nil
	}
	name := ""
	if len(argv) > 0 {
		name = argv[0]
	}
	return fmt.Errorf("%q is not known to be a Python program, which a template can be made of: "+
		"name the script (gpulaunch run script.py) or module (-m), or use --start-method=exec", name)
}

// Start starts the template. It does not wait for the imports.
func Start(cfg Config) (*Template, error) {
	if err := Check(cfg.Argv); err != nil {
		return nil, err
	}
	if strings.Contains(cfg.Folder, ":") { // the hook would not be found, and the script would run at once
		return nil, fmt.Errorf("the template's folder %q has a colon in its name, which PYTHONPATH cannot hold: choose another TMPDIR",
			cfg.Folder)
	}
	file := filepath.Join(cfg.Folder, hook)
	if err := os.WriteFile(file, program, 0o600); err != nil {
		return nil, fmt.Errorf("cannot write the template's program: %w", err)
	}
	link, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := &exec.Cmd{
		Path: cfg.Argv[0], Args: slices.Insert(slices.Clone(cfg.Argv), 2, file),
		Env: templateEnvironment(cfg.Environ), ExtraFiles: []*os.File{theirs}, // descriptor 3
	}
	if cfg.Stdout != nil { // a nil file in an interface is not nil
		cmd.Stdout = cfg.Stdout
	}
	if cfg.Stderr != nil {
		cmd.Stderr = cfg.Stderr
	}
	start := cfg.Start
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := start(cmd); err != nil {
		link.Close()
		return nil, fmt.Errorf("cannot start the template %q: %w", cfg.Argv[0], process.WithResourceHint(err))
	}
	t := &Template{
		cmd: cmd, link: link,
		ready: make(chan struct{}), dead: make(chan struct{}), closed: make(chan struct{}),
		facts: Facts{PID: cmd.Process.Pid, Modules: slices.Clone(cfg.Preload)},
	}
	go t.wait(cfg.Ended)
	go t.await(cfg.Preload)
	return t, nil
}

// templateEnvironment leaves out the variables by which an OpenMP library binds its
// threads to CPUs. It makes the list of CPUs when it is loaded, from those of the
// template, and workers would be bound by that list and not by their own. It also
// leaves out what has no name, which unsetenv(3) cannot remove in workers.
func templateEnvironment(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return name == "" || slices.Contains([]string{"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"}, name)
	})
}

// wait waits for the process.
func (t *Template) wait(ended func(*exec.Cmd)) {
	err := t.cmd.Wait()
	if status, ok := t.cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
		t.exit = process.ExitStatusOf(unix.WaitStatus(status)).String()
	} else {
		t.exit = fmt.Sprintf("could not be waited for: %v", err)
	}
	if ended != nil {
		ended(t.cmd)
	}
	close(t.dead)
	// Some child of it may still have the link open. What it has said can be read.
	_ = t.link.CloseRead()
	<-t.ready
	t.link.Close()
}

// await waits for the imports.
func (t *Template) await(preload []string) {
	defer close(t.ready)
	t.err = t.imports(preload)
	if t.err == nil {
		t.facts.Shared = anonymous(t.facts.PID)
	}
}

func (t *Template) imports(preload []string) error {
	importing := ""
	if err := send(t.link, map[string][]string{"preload": append([]string{}, preload...)}); err != nil {
		return t.lost(err, importing)
	}
	for {
		var m struct {
			failure
			Importing string
			Ready     *struct{ Seconds float64 }
		}
		switch err := receive(t.link, &m); {
		case err != nil:
			return t.lost(err, importing)
		case m.Error != "":
			return &PreloadError{Module: m.Module, Text: m.Error, Traceback: m.Traceback}
		case m.Ready != nil:
			t.facts.Import = time.Duration(m.Ready.Seconds * float64(time.Second))
			return nil
		}
		importing = m.Importing
	}
}

// lost says why a template that is not ready yet cannot be talked to.
func (t *Template) lost(err error, importing string) error {
	if broken(err) {
		_ = t.cmd.Process.Kill()
	}
	// A template that has lost the link ends by itself; one that hangs ends by Close.
	if gone := t.gone(); gone == errClosed {
		return gone
	}
	if importing == "" {
		return fmt.Errorf("the template %q %s before it imported anything: is it Python 3.8 or newer? "+
			"Otherwise use --start-method=exec", t.cmd.Path, t.exit)
	}
	return &PreloadError{
		Module: importing,
		Text:   fmt.Sprintf("cannot import %s: the process that was doing so %s", importing, t.exit),
	}
}

// broken tells nonsense on the link from its end.
func broken(err error) bool {
	var system *net.OpError
	return err != io.EOF && err != io.ErrUnexpectedEOF && !errors.As(err, &system)
}

// gone waits for the template's end and says what it was.
func (t *Template) gone() error {
	select {
	case <-t.closed:
		return errClosed
	case <-t.dead:
	}
	select {
	case <-t.closed: // which is why it is dead
		return errClosed
	default:
		return fmt.Errorf("the template (process %d) %s", t.facts.PID, t.exit)
	}
}

// Ready is closed when the imports are done, or have failed.
func (t *Template) Ready() <-chan struct{} { return t.ready }

// Err says, once Ready is closed, why the template cannot be used; nil if it can.
// It is a *PreloadError if a module is at fault.
func (t *Template) Err() error { return t.err }

// Dead is closed when the process is gone.
func (t *Template) Dead() <-chan struct{} { return t.dead }

// Exit says, once Dead is closed, how the process ended, in the words of
// process.Exit: "exited with code 1".
func (t *Template) Exit() string { return t.exit }

// Facts are complete once Ready is closed.
func (t *Template) Facts() Facts {
	select {
	case <-t.ready:
		return t.facts
	default:
		return Facts{PID: t.facts.PID, Modules: t.facts.Modules}
	}
}

// Close ends the template and waits for it. Workers go on.
func (t *Template) Close() {
	t.closing.Do(func() { close(t.closed) })
	_ = t.cmd.Process.Kill() // os.ErrProcessDone: it is gone
	<-t.dead
}
