package stdio

import (
	"io"
	"sync"
)

// Sink is a destination that several workers share. Each Write arrives in one piece.
type Sink struct {
	mu   sync.Mutex
	w    io.Writer
	lost func(error)
	err  error
}

// NewSink returns a Sink that writes to w. When a write fails, lost is called once, unless it is
// nil, and later output is discarded.
func NewSink(w io.Writer, lost func(error)) *Sink { return &Sink{w: w, lost: lost} }

// Write writes p in one call. It always reports success, so that workers are not held up if the
// reader of w is gone.
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
