//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// flushLimit is how long the launcher's last words may take. A terminal that is
// held with Ctrl-S must not hold the exit.
const flushLimit = time.Second

// console is where the workers' output and the launcher's own lines go. The
// launcher's lines go through a queue, because whoever says something is usually
// stopping workers at the moment, and a blocked terminal must not block that.
type console struct {
	stdout, stderr *launcher.Sink
	// control is what the keeper wants, and the end when nobody reads the output.
	control chan launcher.Control

	mu     sync.Mutex
	closed bool
	texts  chan string
	done   chan struct{}
}

// newConsole also passes on what comes from keeper.
func newConsole(keeper <-chan launcher.Control) *console {
	c := &console{control: make(chan launcher.Control, 4), texts: make(chan string, 1024), done: make(chan struct{})}
	c.stdout = launcher.NewSink(os.Stdout, c.unread)
	c.stderr = launcher.NewSink(os.Stderr, c.unread)
	go func() {
		for k := range keeper {
			c.control <- k
		}
	}()
	go c.write()
	return c
}

// unread ends the job, whose output would be lost: with the code of a program
// that died of SIGPIPE when the reader left, else as a failure of the launcher.
func (c *console) unread(err error) {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	end := launcher.Control{Signal: unix.SIGPIPE, Direct: true, Reason: fmt.Sprintf("the workers' output cannot be written (%v)", err)}
	if !errors.Is(err, unix.EPIPE) {
		end.Code = failed
	}
	go func() { c.control <- end }()
}

// say prints one line of the launcher's own.
func (c *console) say(line string) { c.print(fmt.Sprintf("gpulaunch: %s\n", terminal.OneLine(line))) }

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
		_, _ = io.WriteString(c.stderr, text) // a Sink takes all
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
