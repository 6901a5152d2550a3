package early

import (
	"os"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

func TestField(t *testing.T) {
	const status = "Name:\tx Threads: 9\nThreads:\t 12 3\nUid:\n"
	for name, want := range map[string]string{
		"Name:": "x", "Threads:": "12", "Uid:": "", "Gid:": "", "": "Name:",
	} {
		if got := field(status, name); got != want {
			t.Errorf("field %q is %q, want %q", name, got, want)
		}
	}
	if got := field("", ""); got != "" {
		t.Errorf("the field of nothing is %q", got)
	}
}

func TestParent(t *testing.T) {
	for path, want := range map[string]string{"/a/b": "/a", "/a": "", "/": ""} {
		if got := parent(path); got != want {
			t.Errorf("parent(%q) is %q, want %q", path, got, want)
		}
	}
}

// TestReserveThreads counts this process's threads.
func TestReserveThreads(t *testing.T) {
	count := func() int {
		list, err := os.ReadDir("/proc/self/task")
		if err != nil {
			nvmltest.Unavailable(t, "threads cannot be counted without /proc: "+err.Error())
		}
		return len(list)
	}
	const n = 40
	reserveThreads(n)
	before := count()
	if before < n {
		t.Errorf("there are %d threads, want %d", before, n)
	}
	reserveThreads(n) // they are still there, and are used again
	if now := count(); now > before+n/2 {
		t.Errorf("there are %d threads, %d more: those from before are not used again", now,
			now-before)
	}
}

// TestThreadsLimit asks for more threads than any machine has.
func TestThreadsLimit(t *testing.T) {
	if limit := threadsLimit(0); limit != "" {
		t.Errorf("no thread at all is too many: %s", limit)
	}
	if os.Geteuid() != 0 && threadsLimit(1<<40) == "" {
		t.Error("2^40 threads are permitted")
	}
}
