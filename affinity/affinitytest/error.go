package affinitytest

import (
	"strings"
	"testing"
)

// WantError checks that err is one line with these words, which cannot control a terminal. Without
// words, it checks that there is no error.
func WantError(tb testing.TB, what string, err error, words string) {
	tb.Helper()
	switch {
	case words == "":
		if err != nil {
			tb.Errorf("%s: %v", what, err)
		}
	case err == nil:
		tb.Errorf("%s: no error, want one with %q", what, words)
	case !strings.Contains(err.Error(), words) || strings.ContainsAny(err.Error(), "\n\x1b"):
		tb.Errorf("%s: error %q, want one line with %q", what, err, words)
	}
}
