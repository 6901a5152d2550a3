package stdio

import (
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Input passes the launcher's standard input to one worker.
//
// A file or a pipe is simply inherited. A terminal cannot be inherited: a worker leads a process
// group of its own, which is not the terminal's foreground group, so reading would stop it
// (SIGTTIN, see termios(3)). The launcher is in the foreground group, so it reads the terminal and
// passes the data on through a pipe.
type Input struct {
	src      *os.File
	terminal bool

	mu   sync.Mutex
	pipe *os.File // the pipe of the current attempt
	once sync.Once
	eof  bool
}

// NewInput returns an Input that reads from src.
func NewInput(src *os.File) *Input {
	_, err := unix.IoctlGetTermios(int(src.Fd()), unix.TCGETS)
	return &Input{src: src, terminal: err == nil}
}

// Open returns the file that the worker gets as its standard input. The caller closes it once the
// worker has been started.
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
	if in.pipe != nil {
		in.pipe.Close()
	}
	in.pipe = w
	if in.eof {
		w.Close()
	}
	in.once.Do(func() { go in.copyTerminal() })
	return r, nil
}

// copyTerminal passes on what is typed until the terminal's end of file. It goes on after the end
// of a job during which nothing is typed, because a read from a terminal cannot be cancelled.
func (in *Input) copyTerminal() {
	_, _ = io.Copy(currentPipe{in}, in.src)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.eof = true
	in.pipe.Close()
}

// currentPipe writes to the pipe of the current attempt. Data that no worker reads any more is
// dropped.
type currentPipe struct{ in *Input }

func (c currentPipe) Write(p []byte) (int, error) {
	c.in.mu.Lock()
	sink := c.in.pipe
	c.in.mu.Unlock()
	_, _ = sink.Write(p)
	return len(p), nil
}
