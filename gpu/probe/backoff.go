package probe

import "time"

// The first retry comes at once, because most children die of something that a new one survives.
// The pause before the second retry is firstPause; every further pause is twice as long as the
// one before, up to longestPause.
const (
	firstPause   = time.Second
	longestPause = time.Minute
)

// backoff says when to try again after failures. Its zero value allows a try at once.
type backoff struct {
	failures int
	until    time.Time
}

func (b *backoff) reset() { *b = backoff{} }

// failed records one more failure in a row.
func (b *backoff) failed() {
	b.failures++
	b.until = time.Now().Add(pauseAfter(b.failures))
}

// remaining returns how long to wait before the next try.
func (b *backoff) remaining() time.Duration { return time.Until(b.until) }

// pauseAfter returns the pause after so many failures in a row.
func pauseAfter(failures int) time.Duration {
	if failures < 2 {
		return 0
	}
	pause := firstPause
	for range failures - 2 {
		pause = min(2*pause, longestPause)
	}
	return pause
}
