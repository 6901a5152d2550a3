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
