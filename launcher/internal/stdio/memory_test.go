package stdio

import (
	"bytes"
	"strings"
	"testing"
)

// TestLongLineDoesNotKeepItsMemory checks that the room for a long line is given back once the line
// has ended, and that the room for lines of an ordinary length is used again.
func TestLongLineDoesNotKeepItsMemory(t *testing.T) {
	var out bytes.Buffer
	l := &lineCopier{dst: NewSink(&out, nil)}
	l.split([]byte(strings.Repeat("x", maxLine-1)))
	if cap(l.pending) < maxLine-1 {
		t.Fatalf("the beginning of a line is not kept: room for %d bytes", cap(l.pending))
	}
	l.split([]byte("\n"))
	if cap(l.pending) > 0 {
		t.Errorf("after a line of %d bytes, room for %d is kept", maxLine-1, cap(l.pending))
	}
	l.split([]byte("an ordinary line"))
	before := cap(l.pending)
	l.split([]byte("\n"))
	if cap(l.pending) != before {
		t.Errorf("after an ordinary line, room for %d bytes is kept, want %d", cap(l.pending),
			before)
	}
}
