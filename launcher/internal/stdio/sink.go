package stdio

import (
	"io"
	"sync"
)

// Sink is a destination that several workers share. Each Write reaches it whole.
type Sink struct {
	mu   sync.Mutex
	w    io.Writer
	lost func(error)
	err  error
}

// NewSink returns a Sink that writes to w. When writing fails, lost is called once, unless
// it is nil, and what comes later is discarded.
func NewSink(w io.Writer, lost func(error)) *Sink { return &Sink{w: w, lost: lost} }

// Write writes p at once. After a failure it pretends success, so that workers are not
// held up by a reader who has left.
func (s *Sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		if _, s.err = s.w.Write(p); s.err != nil && s.lost != nil {
			s.lost(s.err)
		}
	}
	return len(p), nil
}
