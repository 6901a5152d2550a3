package nvmltest

import (
	"os"
	"testing"
)

// Unavailable ends a test because something that it needs is not available. The test is skipped,
// or fails if GPULAUNCH_TEST_REQUIRE=all says that everything has been installed.
func Unavailable(tb testing.TB, what string) {
	tb.Helper()
	if os.Getenv("GPULAUNCH_TEST_REQUIRE") == "all" {
		tb.Fatalf("GPULAUNCH_TEST_REQUIRE=all, but %s", what)
	}
	tb.Skip(what)
}

// NotOnThisMachine skips a test because of what this machine is: it has no GPU, or only one CPU, or
// its kernel has no such control groups. Nothing that could be installed would change that, and CI
// cannot choose its machines, so the test is skipped even if everything else is required.
func NotOnThisMachine(tb testing.TB, lacks string) {
	tb.Helper()
	tb.Skipf("not on this machine, and nothing can be installed for it: %s", lacks)
}
