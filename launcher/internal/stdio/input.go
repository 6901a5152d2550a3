package stdio

import (
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Input hands the launcher's standard input to one worker.
//
// A file or a pipe is simply inherited. A terminal cannot be, because a worker leads a
// process group of its own, which is not the terminal's foreground group, and reading
// would stop it (SIGTTIN, see termios(3)). So the launcher, which is in the foreground,
// reads and passes on through a pipe.
type Input struct {
	src      *os.File
	terminal bool

	mu   sync.Mutex
	sink *os.File // the pipe of the current attempt
	once sync.Once
	eof  bool
}

// NewInput returns an Input that reads from src.
func NewInput(src *os.File) *Input {
	_, err := unix.IoctlGetTermios(int(src.Fd()), unix.TCGETS)
	return &Input{src: src, terminal: err == nil}
}

// Open gives what the worker gets as its standard input. The caller closes it once the
// worker has started.
func (in *Input) Open() (*os.File, error) {
	if !in.terminal {
		fd, err := unix.FcntlInt(in.src.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), in.src.Name()), nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.sink != nil {
		in.sink.Close()
	}
	in.sink = w
	if in.eof {
		w.Close()
	}
	in.once.Do(func() { go in.pump() })
	return r, nil
}

// pump passes on what is typed until the terminal's end of file. It outlives a job that
// ends while nothing is typed, because a read from a terminal cannot be undone.
func (in *Input) pump() {
	_, _ = io.Copy(current{in}, in.src)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.eof = true
	in.sink.Close()
}

// current writes to the pipe of the current attempt. What no worker reads any more is
// dropped.
type current struct{ in *Input }

func (c current) Write(p []byte) (int, error) {
	c.in.mu.Lock()
	sink := c.in.sink
	c.in.mu.Unlock()
	_, _ = sink.Write(p)
	return len(p), nil
}
