package keeper

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSameRequestLimit checks from when on a signal is another request.
func TestSameRequestLimit(t *testing.T) {
	for after, want := range map[time.Duration]bool{
		0: false, sameRequest - 1: false, sameRequest: true, time.Hour: true,
	} {
		var r stopRequests
		begin := time.Unix(1000, 0)
		r.add(unix.SIGTERM, begin)
		if _, counts := r.add(unix.SIGTERM, begin.Add(after)); counts != want {
			t.Errorf("after %s it is another request: %v", after, counts)
		}
	}
}

// TestQuitIsTheThirdRequest checks that only the third request leaves nothing to wait for.
func TestQuitIsTheThirdRequest(t *testing.T) {
	var r stopRequests
	now := time.Unix(1000, 0)
	for n := range 5 {
		if r.quit() != (n >= 3) {
			t.Errorf("after %d requests quit is %v", n, r.quit())
		}
		now = now.Add(time.Second)
		r.add(unix.SIGTERM, now)
	}
}
