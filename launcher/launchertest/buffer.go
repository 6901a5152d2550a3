//go:build linux

package launchertest

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// Buffer collects output and can be waited on.
type Buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Await gives the first line that holds text, when it has come.
func (b *Buffer) Await(t testing.TB, text string) string {
	t.Helper()
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		for line := range strings.Lines(b.String()) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				return line
			}
		}
	}
	t.Fatalf("%q did not come within %s; so far:\n%s", text, Patience, b.String())
	return ""
}
