//go:build linux

package forkserver

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Facts describe a template process.
type Facts struct {
	PID int
	// Modules are the modules that were to be imported.
	Modules []string
	// Import is how long importing them took.
	Import time.Duration
	// Shared is how many bytes of anonymous memory the process had right after the imports.
	// Workers share this memory until one of them writes to it (fork(2)). 0 means unknown.
	Shared int64
}

// PreloadError is the error of a template process whose modules cannot be imported.
type PreloadError struct {
	// Module is the name of the module, or "" if it is unknown.
	Module string
	// Text is one line.
	Text string
	// Traceback is what Python printed, several lines or "".
	Traceback string
}

func (e *PreloadError) Error() string { return e.Text }

// errClosed is the error of a template process that was stopped by Close.
var errClosed = errors.New("the template process has been stopped")

// Template is a template process. Its methods may be called from any goroutine.
type Template struct {
	cmd  *exec.Cmd
	link *net.UnixConn

	ready chan struct{} // closed when facts and err do not change any more
	facts Facts
	err   error

	dead chan struct{} // closed when exit does not change any more
	exit string

	closing sync.Once
	closed  chan struct{} // closed by Close

	forking sync.Mutex // held by Fork
}

// awaitExit waits for the process.
func (t *Template) awaitExit(ended func(*exec.Cmd)) {
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
	// A child of the process may still have the link open, so the link would not end by itself.
	// What was sent before can still be read.
	_ = t.link.CloseRead()
	<-t.ready
	t.link.Close()
}

// awaitImports waits until the modules have been imported, or cannot be.
func (t *Template) awaitImports(preload []string) {
	defer close(t.ready)
	t.err = t.importModules(preload)
	if t.err == nil {
		t.facts.Shared = anonymous(t.facts.PID)
	}
}

func (t *Template) importModules(preload []string) error {
	importing := ""
	request := map[string][]string{"preload": append([]string{}, preload...)}
	if err := send(t.link, request); err != nil {
		return t.importError(err, importing)
	}
	for {
		var m struct {
			failure
			Importing string
			Ready     *struct{ Seconds float64 }
		}
		switch err := receive(t.link, &m); {
		case err != nil:
			return t.importError(err, importing)
		case m.Error != "":
			return &PreloadError{Module: m.Module, Text: m.Error, Traceback: m.Traceback}
		case m.Ready != nil:
			t.facts.Import = duration(m.Ready.Seconds)
			return nil
		}
		importing = m.Importing
	}
}

// duration returns a number of seconds that the template process has measured, or 0 if no duration
// can be so long or is negative: what Go makes of such a number depends on the processor.
func duration(seconds float64) time.Duration {
	if n := seconds * float64(time.Second); n >= 0 && n < 1<<63 {
		return time.Duration(n)
	}
	return 0
}

// importError returns the error of a template process whose link has failed with err while it was
// importing a module, or before that if importing is "".
func (t *Template) importError(err error, importing string) error {
	if isInvalid(err) {
		_ = t.cmd.Process.Kill()
	}
	// Without the link a template process exits. If it hangs, Close kills it.
	if err := t.exitError(); err == errClosed {
		return err
	}
	if importing == "" {
		return fmt.Errorf("the template process %q %s before it imported anything: "+
			"use Python 3.8 or newer, or --start-method=exec", t.cmd.Path, t.exit)
	}
	return &PreloadError{
		Module: importing,
		Text:   fmt.Sprintf("cannot import %s: the template process %s", importing, t.exit),
	}
}

// isInvalid reports whether err means that a message was invalid, and not that the link failed.
func isInvalid(err error) bool {
	var system *net.OpError
	return err != io.EOF && err != io.ErrUnexpectedEOF && !errors.As(err, &system)
}

// exitError waits for the end of the process, and returns it as an error.
func (t *Template) exitError() error {
	select {
	case <-t.closed:
		return errClosed
	case <-t.dead:
	}
	select {
	case <-t.closed: // Close has killed it
		return errClosed
	default:
		return fmt.Errorf("the template process (pid %d) %s", t.facts.PID, t.exit)
	}
}

// Ready returns a channel that is closed when the imports are done or have failed.
func (t *Template) Ready() <-chan struct{} { return t.ready }

// Err returns nil if workers can be forked, and otherwise why they cannot. If a module is the
// reason, it is a *[PreloadError]. Call it after Ready is closed.
func (t *Template) Err() error { return t.err }

// Dead returns a channel that is closed when the process has ended.
func (t *Template) Dead() <-chan struct{} { return t.dead }

// Exit returns how the process ended in the words of process.ExitStatus, such as "exited with code
// 1". Call it after Dead is closed.
func (t *Template) Exit() string { return t.exit }

// Facts returns what is known about the process. Import and Shared are known after Ready is closed.
func (t *Template) Facts() Facts {
	select {
	case <-t.ready:
		return t.facts
	default:
		return Facts{PID: t.facts.PID, Modules: t.facts.Modules}
	}
}

// Close kills the process and waits for its end. Workers go on running.
func (t *Template) Close() {
	t.closing.Do(func() { close(t.closed) })
	_ = t.cmd.Process.Kill() // os.ErrProcessDone if it has ended
	<-t.dead
}
