package monitor

import (
	"context"
	"time"
)

// sampleLimit bounds one question to the GPUs.
const sampleLimit = 3 * time.Second

// asking has one question at a time, and knows whether questions are answered.
type asking struct {
	turn   chan struct{} // holds a token while a question is under way
	failed bool          // the last one was not answered; owned by who holds the turn
}

// sampleGPUs asks for the GPUs' figures once.
func (m *Monitor) sampleGPUs(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sampleLimit)
	defer cancel()
	select {
	case m.asking.turn <- struct{}{}:
		defer func() { <-m.asking.turn }()
	case <-ctx.Done():
		return
	}
	s, err := m.GPUs.Sample(ctx)
	m.asking.failed = err != nil || s.Error != ""
	switch {
	case err != nil:
		m.Observer.GPUsSilent(err.Error())
	case s.Error != "":
		m.Observer.GPUsSilent(s.Error)
	default:
		m.Observer.GPUsSampled(s)
	}
}

// answers takes the turn for good and reports whether a question now is worth it.
func (a *asking) answers() bool {
	select {
	case a.turn <- struct{}{}:
		return !a.failed
	case <-time.After(lateLimit):
		return false
	}
}
