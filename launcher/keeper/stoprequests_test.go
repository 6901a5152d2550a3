package keeper

import (
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
)

func TestStopRequests(t *testing.T) {
	type step struct {
		after time.Duration
		sig   syscall.Signal
		want  byte // 0 if the signal belongs to the request before
	}
	for name, steps := range map[string][]step{
		"three times": {{0, unix.SIGINT, byte(unix.SIGINT)}, {time.Second, unix.SIGINT, link.Kill},
			{time.Second, unix.SIGTERM, link.Quit}},
		"timeout(1) signals the process and its group": {{0, unix.SIGTERM, byte(unix.SIGTERM)},
			{time.Millisecond, unix.SIGTERM, 0}, {sameRequest, unix.SIGTERM, link.Kill}},
		"a terminal closes": {{0, unix.SIGHUP, byte(unix.SIGHUP)},
			{time.Second, unix.SIGHUP, 0}, {time.Second, unix.SIGTERM, link.Kill}},
		"a hang-up after another request": {{0, unix.SIGTERM, byte(unix.SIGTERM)},
			{time.Hour, unix.SIGHUP, 0}},
		"several signals in a short time": {{0, unix.SIGTERM, byte(unix.SIGTERM)},
			{100 * time.Millisecond, unix.SIGINT, 0}, {100 * time.Millisecond, unix.SIGINT, 0},
			{150 * time.Millisecond, unix.SIGINT, link.Kill}},
	} {
		var r stopRequests
		now := time.Unix(1000, 0)
		for i, s := range steps {
			now = now.Add(s.after)
			got, counts := r.add(s.sig, now)
			if got != s.want || counts != (s.want != 0) {
				t.Errorf("%s: step %d gives %#x, want %#x", name, i, got, s.want)
			}
		}
		if r.first != steps[0].sig {
			t.Errorf("%s: first is %v", name, r.first)
		}
	}
}
