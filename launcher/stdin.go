package launcher

import (
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Stdin hands the launcher's standard input to rank 0.
//
// A file or a pipe is simply inherited. A terminal cannot be: a worker leads a
// process group of its own, which is not the terminal's foreground group, and
// reading would stop it (SIGTTIN, see termios(3)). So the launcher, which is in
// the foreground, reads and passes on through a pipe.
type Stdin struct {
	src      *os.File
	terminal bool

	mu   sync.Mutex
	sink *os.File // the pipe of the current attempt
	once sync.Once
	eof  bool
}

// NewStdin reads from src.
func NewStdin(src *os.File) *Stdin {
	_, err := unix.IoctlGetTermios(int(src.Fd()), unix.TCGETS)
	return &Stdin{src: src, terminal: err == nil}
}

// open gives what rank 0 gets as its standard input; the caller closes it once
// the worker has started.
func (s *Stdin) open() (*os.File, error) {
	if !s.terminal {
		fd, err := unix.FcntlInt(s.src.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, &StartError{Program: "rank 0", Err: err, Hint: process.ResourceHint(err)}
		}
		return os.NewFile(uintptr(fd), s.src.Name()), nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, &StartError{Program: "rank 0", Err: err, Hint: process.ResourceHint(err)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sink != nil {
		s.sink.Close()
	}
	s.sink = w
	if s.eof {
		w.Close()
	}
	s.once.Do(func() { go s.pump() })
	return r, nil
}

// pump passes on what is typed until the terminal's end of file. It outlives a
// job that ends while nothing is typed; a read from a terminal cannot be undone.
func (s *Stdin) pump() {
	_, _ = io.Copy(current{s}, s.src)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eof = true
	s.sink.Close()
}

// current writes to the pipe of the current attempt. What no worker reads any
// more is dropped.
type current struct{ s *Stdin }

func (c current) Write(p []byte) (int, error) {
	c.s.mu.Lock()
	sink := c.s.sink
	c.s.mu.Unlock()
	_, _ = sink.Write(p)
	return len(p), nil
}
