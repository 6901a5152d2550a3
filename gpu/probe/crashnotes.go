package probe

import (
	"bytes"
	"io"
	"sync"
)

// crashLineLimit is how many bytes of one line of the child's output go into an error.
const crashLineLimit = 200

// crashPrefixes begin the lines that say why a Go program died. A fault inside a C library does
// not end such a program by the signal: the runtime catches it, reports it in one of these ways
// and exits with status 2.
var crashPrefixes = [][]byte{
	[]byte("SIG"), []byte("fatal error: "), []byte("panic: "), []byte("runtime: "),
	[]byte("Error: "),
}

// crashNotes passes a child's output on and keeps the first line that explains a crash.
type crashNotes struct {
	to io.Writer // nil discards the output

	mu    sync.Mutex
	line  []byte // the current line, as far as it fits
	found []byte
}

// Write never fails. If it did, exec.Cmd would stop reading the child's output, and the child could
// die of writing more.
func (n *crashNotes) Write(p []byte) (int, error) {
	n.scan(p)
	if n.to != nil {
		n.to.Write(p)
	}
	return len(p), nil
}

func (n *crashNotes) scan(p []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(p) > 0 && n.found == nil {
		line, rest, complete := bytes.Cut(p, []byte("\n"))
		room := min(len(line), crashLineLimit-len(n.line))
		n.line = append(n.line, line[:room]...)
		if complete {
			n.finishLine()
		}
		p = rest
	}
}

// finishLine keeps the complete line if it explains a crash, and begins a new one.
func (n *crashNotes) finishLine() {
	for _, prefix := range crashPrefixes {
		if bytes.HasPrefix(n.line, prefix) {
			n.found = bytes.Clone(n.line)
		}
	}
	n.line = n.line[:0]
}

// summary returns the line that explains the crash, in printable characters, or "".
func (n *crashNotes) summary() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return printable(string(n.found))
}
