package stdio

import (
	"bytes"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// maxLine is where a line without an end is cut: a worker that prints none
// must not fill the launcher's memory.
const maxLine = 64 << 10

// lines copies a worker's output to a sink, a prefix before each line.
type lines struct {
	src    *os.File
	dst    *Sink
	prefix []byte
	last   *Tail // nil to remember nothing

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
			n, err := process.RetryEINTR(func() (int, error) {
				return unix.Read(int(fd), buf.in[:])
			})
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
