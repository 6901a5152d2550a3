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

// maxLine is the length at which a line is cut, so that a worker that prints no line ends does not
// fill the launcher's memory.
const maxLine = 64 << 10

// lineCopier copies a pipe to a sink, with a prefix before each line.
type lineCopier struct {
	src    *os.File
	dst    *Sink
	prefix []byte
	tail   *Tail // nil if the last lines need not be remembered

	pending []byte // the beginning of a line that has not ended
	out     []byte // what is written next
	skipLF  bool   // the last byte was a carriage return

	silence atomic.Int64 // a time.Duration; 0 before cut
	// owed is how many bytes were in the pipe at the time of cut. More than that comes from a
	// process that is none of the job's, and is passed on until outsiderEnd.
	owed        atomic.Int64
	outsiderEnd time.Time
	interrupted bool // such a process was still writing at the end
}

// outsiderTime is how long the output of a process that is none of the job's is passed on after the
// job's own output.
const outsiderTime = time.Second

// buffers are shared by all pipes. A buffer is only taken when there is something to read, so that
// a worker that writes nothing holds none.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

type buffer struct {
	in  [maxLine]byte
	out []byte // lines with their prefix
}

// copy copies until no process has the pipe open for writing any more or the reading is cut.
func (l *lineCopier) copy() {
	conn, err := l.src.SyscallConn()
	for more := err == nil; more; {
		n := 0
		err = conn.Read(func(fd uintptr) bool {
			buf := buffers.Get().(*buffer)
			defer buffers.Put(buf)
			got, err := process.RetryEINTR(func() (int, error) {
				return unix.Read(int(fd), buf.in[:])
			})
			if err == unix.EAGAIN {
				return false
			}
			n = max(got, 0)
			l.out = buf.out[:0]
			l.split(buf.in[:n])
			buf.out, l.out = l.out, nil
			more = n > 0
			return true
		})
		more = more && err == nil
		if silence := time.Duration(l.silence.Load()); more && silence > 0 {
			_ = l.src.SetReadDeadline(time.Now().Add(silence)) // the writing may have taken long
			l.interrupted = l.owed.Add(int64(-n)) < 0 && l.outsiderTimeIsOver()
			more = !l.interrupted
		}
	}
	if len(l.pending) > 0 {
		l.split([]byte{'\n'})
	}
}

// outsiderTimeIsOver reports whether the output of an outsider has been passed on for outsiderTime.
func (l *lineCopier) outsiderTimeIsOver() bool {
	if l.outsiderEnd.IsZero() {
		l.outsiderEnd = time.Now().Add(outsiderTime)
	}
	return time.Now().After(l.outsiderEnd)
}

// cut ends the reading once nothing has come for so long, or what has come is an outsider's. No
// process of the job may be left.
func (l *lineCopier) cut(silence time.Duration) {
	if conn, err := l.src.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { // fails for a file that has been closed
			n, _ := unix.IoctlGetInt(int(fd), unix.TIOCINQ) // what can be read from the pipe, pipe(7)
			l.owed.Store(int64(n))
		})
	}
	l.silence.Store(int64(silence))
	// This fails for a file that has been closed, which is not read any more.
	_ = l.src.SetReadDeadline(time.Now().Add(silence))
}

// split splits what was read into lines. A carriage return ends a line, too, because a progress bar
// that redraws itself with carriage returns would otherwise not be shown until its end.
func (l *lineCopier) split(data []byte) {
	for len(data) > 0 {
		end := bytes.IndexAny(data, "\r\n")
		if end < 0 {
			l.keep(data)
			break
		}
		l.keep(data[:end])
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
		l.pending = nil // one long line is no reason to keep so much memory
	}
}

// keep keeps the beginning of a line, and cuts a line that is too long.
func (l *lineCopier) keep(part []byte) {
	for len(part) > 0 {
		l.skipLF = false
		room := min(maxLine-len(l.pending), len(part))
		l.pending = append(l.pending, part[:room]...)
		part = part[room:]
		if len(l.pending) == maxLine {
			l.flush(false)
			l.skipLF = true // a line feed right after the cut adds no empty line
		}
	}
}

// flush ends the line. If it is empty, it is written only if empty is true.
func (l *lineCopier) flush(empty bool) {
	if len(l.pending) == 0 && !empty {
		return
	}
	l.out = append(l.out, l.prefix...)
	l.out = append(l.out, l.pending...)
	l.out = append(l.out, '\n')
	if l.tail != nil {
		l.tail.add(l.pending)
	}
	l.pending = l.pending[:0]
}
