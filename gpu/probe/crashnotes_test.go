package probe

import (
	"errors"
	"strings"
	"testing"
)

func TestCrashNotes(t *testing.T) {
	for output, want := range map[string]string{
		"":                                       "",
		"all is well\n":                          "",
		"SIGSEGV: no newline yet":                "",
		"x\nSIGSEGV: at x\nPC=1\n":               "SIGSEGV: at x",
		"panic: a\nfatal error: b\n":             "panic: a",
		"fatal error: \x1b[1mbold\n":             "fatal error: [1mbold",
		strings.Repeat("x", 1000):                "",
		"SIG" + strings.Repeat("x", 1000) + "\n": "SIG" + strings.Repeat("x", crashLineLimit-3),
	} {
		whole, bytewise := &crashNotes{}, &crashNotes{to: failingWriter{}}
		whole.Write([]byte(output))
		for i := range len(output) {
			if n, err := bytewise.Write([]byte{output[i]}); n != 1 || err != nil {
				t.Errorf("a writer that fails is felt: %v", err)
			}
		}
		if whole.line() != want || bytewise.line() != want {
			t.Errorf("%.60q: %q and %q, want %q", output, whole.line(), bytewise.line(), want)
		}
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("full") }
