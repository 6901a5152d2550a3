package probe

import (
	"bytes"
	"io"
	"sync"
)

// crashLineLimit bounds the part of a child's output that goes into an error.
const crashLineLimit = 200

// crashBeginnings are how a line begins that says why a Go program dies. A fault inside a C library does not end such a
// program by its signal: the runtime catches it, reports it in one of these ways and exits with status 2.
var crashBeginnings = [][]byte{[]byte("SIG"), []byte("fatal error: "), []byte("panic: "), []byte("runtime: "), []byte("Error: ")}

// crashNotes passes a child's output on and keeps the first line that tells of a crash.
type crashNotes struct {
	to io.Writer // nil discards

	mu      sync.Mutex
	partial []byte // the line under way, as far as it fits
	found   []byte
}

// Write never fails: a reader that does not want the output must not end the child.
func (n *crashNotes) Write(p []byte) (int, error) {
	n.note(p)
	if n.to != nil {
		n.to.Write(p)
	}
	return len(p), nil
}

func (n *crashNotes) note(p []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(p) > 0 && n.found == nil {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		room := min(len(line), crashLineLimit-len(n.partial))
		n.partial = append(n.partial, line[:room]...)
		if whole {
			n.judge()
		}
		p = rest
	}
}

// judge keeps the finished line if it tells of a crash.
func (n *crashNotes) judge() {
	for _, beginning := range crashBeginnings {
		if bytes.HasPrefix(n.partial, beginning) {
			n.found = bytes.Clone(n.partial)
		}
	}
	n.partial = n.partial[:0]
}

// line is what was found, fit to be part of a one-line error.
func (n *crashNotes) line() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return printable(string(n.found))
}
