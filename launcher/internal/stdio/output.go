package stdio

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Pipes are the two pipes of a worker, before they are read.
type Pipes struct {
	// Stdout and Stderr are the worker's ends. They are to be closed once it has been started.
	Stdout, Stderr *os.File

	stdout, stderr int // the launcher's ends
}

// NewPipes makes the pipes for one worker. Output.Read takes them over, or Close closes them.
func NewPipes() (p Pipes, err error) {
	if p.stdout, p.Stdout, err = newPipe(); err != nil {
		return Pipes{}, err
	}
	if p.stderr, p.Stderr, err = newPipe(); err != nil {
		p.Stdout.Close()
		unix.Close(p.stdout)
		return Pipes{}, err
	}
	return p, nil
}

func newPipe() (ours int, theirs *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return -1, nil, err
	}
	// Only the launcher's end must not block. The flag belongs to one end of a pipe, and a worker's
	// own standard output has to block.
	_ = unix.SetNonblock(fds[0], true) // fails only for a bad descriptor
	return fds[0], os.NewFile(uintptr(fds[1]), "pipe of worker"), nil
}

// CloseWorkerEnds closes the ends that the worker has inherited.
func (p Pipes) CloseWorkerEnds() {
	p.Stdout.Close()
	p.Stderr.Close()
}

// Close closes all four ends, for a worker that was not started.
func (p Pipes) Close() {
	p.CloseWorkerEnds()
	p.Discard()
}

// Discard closes the launcher's ends, for a worker whose output is not read.
func (p Pipes) Discard() {
	unix.Close(p.stdout)
	unix.Close(p.stderr)
}

// Output copies what the workers of one attempt write. Its methods must be called from one
// goroutine.
type Output struct {
	stdout, stderr *Sink
	width          int
	copiers        []*lineCopier
	copying        sync.WaitGroup
}

// NewOutput returns an Output whose prefixes have room for ranks up to the highest.
func NewOutput(stdout, stderr *Sink, highestRank int) *Output {
	return &Output{stdout: stdout, stderr: stderr, width: len(fmt.Sprint(highestRank))}
}

// Read begins to copy a worker's output. It returns the Tail, which remembers the end of the
// worker's standard error.
func (o *Output) Read(rank int, p Pipes) *Tail {
	last := &Tail{}
	o.ReadNamed(fmt.Sprintf("%*d", o.width, rank), p, last)
	return last
}

// ReadNamed begins to copy the output of a process that has another name than a rank. last may be
// nil.
func (o *Output) ReadNamed(name string, p Pipes, last *Tail) {
	prefix := fmt.Appendf(nil, "[%s] ", name)
	o.read(p.stdout, o.stdout, prefix, nil)
	o.read(p.stderr, o.stderr, prefix, last)
}

func (o *Output) read(fd int, dst *Sink, prefix []byte, last *Tail) {
	src := os.NewFile(uintptr(fd), "pipe from worker")
	l := &lineCopier{src: src, dst: dst, prefix: prefix, tail: last}
	o.copiers = append(o.copiers, l)
	o.copying.Go(func() {
		l.copy()
		src.Close()
	})
}

// Drained returns a channel that is closed when everything has been copied.
func (o *Output) Drained() <-chan struct{} {
	done := make(chan struct{})
	go func() { o.copying.Wait(); close(done) }()
	return done
}

// Interrupted returns the names of the ranks whose output an outsider was still writing when it was
// cut, each once. Call it when everything has been copied.
func (o *Output) Interrupted() (names []string) {
	for _, l := range o.copiers {
		name := strings.Trim(string(l.prefix), "[] ")
		if l.interrupted && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Cut stops reading each pipe that is silent for so long, even if a process still has it open. No
// process of the job may be left. A process that is none of the job's can have the pipe as well, and
// can go on writing for ever: what it writes is passed on for a moment.
func (o *Output) Cut(silence time.Duration) {
	for _, l := range o.copiers {
		l.cut(silence)
	}
}
