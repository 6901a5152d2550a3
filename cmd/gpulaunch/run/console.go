//go:build linux

package run

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// flushLimit is how long the launcher's last words may take. A terminal that is
// held with Ctrl-S must not hold the exit.
const flushLimit = time.Second

// console is where the workers' output and the launcher's own lines go. The launcher's
// lines go through a queue, because whoever says something is usually stopping workers at
// the moment, and a blocked terminal must not block that.
type console struct {
	stdout, stderr lockedFile
	sup            *supervisor.Supervisor

	mu     sync.Mutex
	closed bool
	texts  chan string
	done   chan struct{}
}

// lockedFile writes each text whole, whoever writes.
type lockedFile struct {
	mu   sync.Mutex
	file *os.File
}

func (f *lockedFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Write(p)
}

// newConsole writes to this process's own output. That it cannot ends the job.
func newConsole(sup *supervisor.Supervisor) *console {
	c := &console{sup: sup, texts: make(chan string, 1024), done: make(chan struct{})}
	c.stdout.file, c.stderr.file = os.Stdout, os.Stderr
	go c.write()
	return c
}

// lost ends the job, whose output would be lost: with the code of a program that died of
// SIGPIPE when the reader left, else as a failure of the launcher.
func (c *console) lost(err error) {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	r := supervisor.Request{Signal: unix.SIGPIPE, Direct: true,
		Reason: fmt.Sprintf("the workers' output cannot be written (%v)", err)}
	if !errors.Is(err, unix.EPIPE) {
		r.Code = cli.Failed
	}
	c.sup.Request(r)
}

// say prints one line of the launcher's own.
func (c *console) say(line string) {
	c.print(fmt.Sprintf("gpulaunch: %s\n", terminal.OneLine(line)))
}

// print prints text as it is.
func (c *console) print(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	select {
	case c.texts <- text:
	default: // a thousand texts behind: nobody reads
	}
}

func (c *console) write() {
	defer close(c.done)
	for text := range c.texts {
		if _, err := io.WriteString(&c.stderr, text); err != nil {
			c.lost(err)
		}
	}
}

// close prints what is left to print.
func (c *console) close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.texts)
	}
	c.mu.Unlock()
	select {
	case <-c.done:
	case <-time.After(flushLimit):
	}
}
