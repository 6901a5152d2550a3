package probe

import "time"

// The first failure is followed by a second try at once: most children die of something that a new one survives. From
// then on each pause is twice as long as the one before.
const (
	firstPause   = time.Second
	longestPause = time.Minute
)

// backoff spaces out tries that keep failing. The zero value allows one at once.
type backoff struct {
	failures int
	until    time.Time
}

func (b *backoff) reset() { *b = backoff{} }

func (b *backoff) failed() {
	b.failures++
	b.until = time.Now().Add(pauseAfter(b.failures))
}

// remaining is how long the next try has to wait.
func (b *backoff) remaining() time.Duration { return time.Until(b.until) }

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
