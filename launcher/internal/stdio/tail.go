package stdio

import (
	"bytes"
	"strings"
	"sync"
)

// How much of a worker's standard error is remembered for the report of a failure.
const (
	tailBytes = 8 << 10
	tailLines = 30
)

// Tail remembers the last lines that were added. Its methods may be called from any goroutine.
type Tail struct {
	mu  sync.Mutex
	buf []byte
	cut bool // something before buf has been dropped
}

// add adds a line, without its line end.
func (t *Tail) add(line []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(line) > tailBytes {
		line = line[:tailBytes]
	}
	if len(t.buf)+len(line)+1 > 2*tailBytes {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-tailBytes:]...)
		t.cut = true
	}
	t.buf = append(append(t.buf, line...), '\n')
}

// Lines returns the last lines, the first of them whole, or nil for a nil Tail.
func (t *Tail) Lines() []string {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	data := t.buf
	if t.cut {
		data = data[bytes.IndexByte(data, '\n')+1:]
	}
	if len(data) == 0 {
		return nil
	}
	list := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	return list[max(0, len(list)-tailLines):]
}
