//go:build linux

package forkserver

import (
	"math"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for seconds, want := range map[float64]time.Duration{
		0: 0, 1.5: 1500 * time.Millisecond, 9e9: 9e18, -1: 0, 1e300: 0, 9.3e9: 0,
		math.Inf(1): 0, math.Inf(-1): 0,
	} {
		if got := duration(seconds); got != want {
			t.Errorf("%v seconds are %s, want %s", seconds, got, want)
		}
	}
	if got := duration(math.NaN()); got != 0 {
		t.Errorf("NaN seconds are %s", got)
	}
}
