package probe

import (
	"errors"
	"strings"
	"testing"
)

func TestCrashNotes(t *testing.T) {
	thousand := strings.Repeat("x", 1000)
	for output, want := range map[string]string{
		"":                             "",
		"all is well\n":                "",
		"SIGSEGV: no newline yet":      "",
		"x\nSIGSEGV: at x\nPC=1\n":     "SIGSEGV: at x",
		"panic: a\nfatal error: b\n":   "panic: a",
		"fatal error: \x1b[1mbold\n":   "fatal error: [1mbold",
		thousand:                       "",
		"SIG" + thousand + "\n":        "SIG" + thousand[:crashLineLimit-3],
		thousand + "\npanic: a\nSIG\n": "panic: a",
	} {
		atOnce, bytewise := &crashNotes{}, &crashNotes{to: failingWriter{}}
		atOnce.Write([]byte(output))
		for i := range len(output) {
			if n, err := bytewise.Write([]byte{output[i]}); n != 1 || err != nil {
				t.Errorf("writing one byte gives %d, %v; want 1 and no error", n, err)
			}
		}
		if got := atOnce.summary(); got != want {
			t.Errorf("%.60q written at once: %q, want %q", output, got, want)
		}
		if got := bytewise.summary(); got != want {
			t.Errorf("%.60q written byte by byte: %q, want %q", output, got, want)
		}
	}
}

// failingWriter is a destination that fails. crashNotes must not pass its errors on.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("full") }
