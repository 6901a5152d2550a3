package stdio

import (
	"fmt"
	"strings"
	"testing"
)

func TestLastLines(t *testing.T) {
	last := &Tail{}
	if last.Lines() != nil || (*Tail)(nil).Lines() != nil {
		t.Error("an empty or nil Tail has lines")
	}
	for i := range 100_000 {
		last.add(fmt.Appendf(nil, "line %d", i))
	}
	lines := last.Lines()
	if len(lines) != tailLines || lines[tailLines-1] != "line 99999" ||
		lines[0] != fmt.Sprintf("line %d", 100_000-tailLines) || cap(last.buf) > 4*tailBytes {
		t.Errorf("%d lines, %d bytes: %q", len(lines), cap(last.buf), lines)
	}
	last.add([]byte(strings.Repeat("x", 1<<20)))
	if lines = last.Lines(); len(lines[len(lines)-1]) != tailBytes {
		t.Errorf("the last of %d lines has %d bytes", len(lines), len(lines[len(lines)-1]))
	}
	long := &Tail{}
	long.add([]byte(strings.Repeat("x", 3*tailBytes)))
	long.add([]byte(strings.Repeat("y", 3*tailBytes)))
	if got := long.Lines(); len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "y") {
		t.Errorf("%d lines", len(got))
	}
}
