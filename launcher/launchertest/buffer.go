//go:build linux

package launchertest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// Buffer collects output, and lets a test wait for it. Its zero value is ready to use. Its
// methods may be called from any goroutine.
type Buffer struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed when mu's fields change, nil while nobody waits for that
	ended   bool          // nothing more will be written
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.wake()
	return b.text.Write(p)
}

// end makes those give up who wait for text that has not been written.
func (b *Buffer) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.wake()
}

// wake is called with mu locked.
func (b *Buffer) wake() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// limit says for a failure how long the text was waited for.
func (b *Buffer) limit() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return "before the output ended"
	}
	return fmt.Sprintf("within %s", Patience)
}

// Until waits until condition is true of the text so far, and reports whether it became true
// within [Patience].
func (b *Buffer) Until(condition func(text string) bool) bool {
	return b.until(func(text []byte) bool { return condition(string(text)) })
}

// until does the same without copying the text. condition must not keep it.
func (b *Buffer) until(condition func(text []byte) bool) bool {
	deadline := time.After(Patience)
	b.mu.Lock()
	defer b.mu.Unlock()
	for !condition(b.text.Bytes()) {
		if b.ended {
			return false
		}
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		late := false
		select {
		case <-changed:
		case <-deadline:
			late = true
		}
		b.mu.Lock()
		if late {
			return false
		}
	}
	return true
}

// Await waits for a complete line that contains text, and returns the first such line.
func (b *Buffer) Await(t testing.TB, text string) (found string) {
	t.Helper()
	ok := b.Until(func(all string) bool {
		for line := range strings.Lines(all) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				found = line
				return true
			}
		}
		return false
	})
	if !ok {
		t.Fatalf("no line with %q was written %s; so far:\n%s", text, b.limit(), b)
	}
	return found
}
