package probe

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childMode is the variable that turns the test binary into the child of a Client.
const childMode = "GPU_TEST_CHILD"

func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		os.Exit(runChild(mode))
	}
	goleak.VerifyTestMain(m)
}
