package launcher

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// OutputMode is what becomes of the workers' standard output and error.
type OutputMode string

const (
	// OutputPrefix writes them line by line, each with its rank in front.
	OutputPrefix OutputMode = "prefix"
	// OutputInherit gives the launcher's own descriptors to the workers.
	OutputInherit OutputMode = "inherit"
)

// ParseOutputMode reads "prefix" or "inherit".
func ParseOutputMode(s string) (OutputMode, error) {
	switch m := OutputMode(s); m {
	case OutputPrefix, OutputInherit:
		return m, nil
	}
	return "", fmt.Errorf("%q is not an output mode: use prefix or inherit", s)
}

// maxLine is where a line without an end is cut: a worker that prints none
// must not fill the launcher's memory.
const maxLine = 64 << 10

// Sink is one destination that several writers share; each write is whole.
type Sink struct {
	mu   sync.Mutex
	w    io.Writer
	gone func(error)
	err  error
}

// NewSink writes to w. gone is called once, when writing has failed; what
// comes later is discarded.
func NewSink(w io.Writer, gone func(error)) *Sink { return &Sink{w: w, gone: gone} }

// Write writes p at once. After a failure it pretends success, so that workers
// are not held up by a reader who left.
func (s *Sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		if _, s.err = s.w.Write(p); s.err != nil && s.gone != nil {
			s.gone(s.err)
		}
	}
	return len(p), nil
}

// lines copies a worker's output to a sink, a prefix before each line.
type lines struct {
	src    *os.File
	dst    *Sink
	prefix []byte
	last   *tail // nil to remember nothing

	pending []byte // bytes of a line that has not ended
	out     []byte // what is written next
	skipLF  bool   // the last byte was a carriage return

	silence atomic.Int64 // a time.Duration, 0 before cut
}

// buffers are shared by all pipes: one is taken when there is something to
// read, so that a worker that says nothing holds none.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

type buffer struct {
	in  [maxLine]byte
	out []byte // lines with their prefix
}

// copy runs until the pipe's last writer is gone or the reading is cut.
func (l *lines) copy() {
	conn, err := l.src.SyscallConn()
	for more := err == nil; more; {
		err = conn.Read(func(fd uintptr) bool {
			buf := buffers.Get().(*buffer)
			defer buffers.Put(buf)
			n, err := process.RetryEINTR(func() (int, error) { return unix.Read(int(fd), buf.in[:]) })
			if err == unix.EAGAIN {
				return false
			}
			l.out = buf.out[:0]
			l.take(buf.in[:max(n, 0)])
			buf.out, l.out = l.out, nil
			more = n > 0
			return true
		})
		more = more && err == nil
		if silence := time.Duration(l.silence.Load()); more && silence > 0 {
			_ = l.src.SetReadDeadline(time.Now().Add(silence)) // the writing may have taken long
		}
	}
	if len(l.pending) > 0 {
		l.take([]byte{'\n'})
	}
}

// cut ends the reading when nothing comes for so long.
func (l *lines) cut(silence time.Duration) {
	l.silence.Store(int64(silence))
	// Fails on a file that is closed, whose reading has ended.
	_ = l.src.SetReadDeadline(time.Now().Add(silence))
}

// take splits what was read into lines. A carriage return ends a line too, or a
// progress bar that draws itself with them would be silent until its end.
func (l *lines) take(data []byte) {
	for len(data) > 0 {
		end := bytes.IndexAny(data, "\r\n")
		if end < 0 {
			l.hold(data)
			break
		}
		l.hold(data[:end])
		if data[end] == '\r' {
			l.flush(false)
		} else {
			l.flush(!l.skipLF)
		}
		l.skipLF = data[end] == '\r'
		data = data[end+1:]
	}
	if len(l.out) > 0 {
		l.dst.Write(l.out)
		l.out = l.out[:0]
	}
	if len(l.pending) == 0 && cap(l.pending) > 4096 {
		l.pending = nil // one long line is no reason to keep its room
	}
}

// hold keeps the beginning of a line, and cuts one that is too long.
func (l *lines) hold(part []byte) {
	for len(part) > 0 {
		l.skipLF = false
		room := min(maxLine-len(l.pending), len(part))
		l.pending = append(l.pending, part[:room]...)
		part = part[room:]
		if len(l.pending) == maxLine {
			l.flush(false)
			l.skipLF = true // a line feed right behind the cut adds no empty line
		}
	}
}

// flush ends the line. An empty one counts only if a line feed made it.
func (l *lines) flush(empty bool) {
	if len(l.pending) == 0 && !empty {
		return
	}
	l.out = append(l.out, l.prefix...)
	l.out = append(l.out, l.pending...)
	l.out = append(l.out, '\n')
	if l.last != nil {
		l.last.add(l.pending)
	}
	l.pending = l.pending[:0]
}

// outputs are the pipes of one attempt's workers.
type outputs struct {
	stdout, stderr *Sink
	width          int
	open           []*lines
	wait           sync.WaitGroup
}

// pipes gives the write ends for one worker's standard output and error, to be
// closed once it has started, and what will remember the end of the latter.
func (o *outputs) pipes(rank int) (out, err *os.File, last *tail, failure error) {
	prefix := fmt.Appendf(nil, "[%*d] ", o.width, rank)
	last = &tail{}
	out, failure = o.pipe(o.stdout, prefix, nil)
	if failure != nil {
		return nil, nil, nil, failure
	}
	err, failure = o.pipe(o.stderr, prefix, last)
	if failure != nil {
		out.Close()
		return nil, nil, nil, failure
	}
	return out, err, last, nil
}

func (o *outputs) pipe(dst *Sink, prefix []byte, last *tail) (*os.File, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, &StartError{Program: "a worker", Err: err, Hint: process.ResourceHint(err)}
	}
	// Only our end: the flag belongs to one end of a pipe, and a worker's own
	// standard output must block.
	_ = unix.SetNonblock(fds[0], true) // fails only on a bad descriptor
	src := os.NewFile(uintptr(fds[0]), "pipe from worker")
	l := &lines{src: src, dst: dst, prefix: prefix, last: last}
	o.open = append(o.open, l)
	o.wait.Go(func() {
		l.copy()
		src.Close()
	})
	return os.NewFile(uintptr(fds[1]), "pipe of worker"), nil
}

// drained is closed when everything that the workers wrote has been passed on.
func (o *outputs) drained() <-chan struct{} {
	done := make(chan struct{})
	go func() { o.wait.Wait(); close(done) }()
	return done
}

// cut ends the reading of each pipe that is silent for so long, even if some
// process still holds it.
func (o *outputs) cut(silence time.Duration) {
	for _, l := range o.open {
		l.cut(silence)
	}
}
