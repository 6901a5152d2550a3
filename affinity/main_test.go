package affinity

import (
	"fmt"
	"os"
	"testing"
)

// childVariable makes the test binary a child that does what one of childJobs does and nothing else.
const childVariable = "AFFINITY_TEST_CHILD"

func TestMain(m *testing.M) {
	if job, ok := childJobs[os.Getenv(childVariable)]; ok {
		if err := job(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if unpacked.dir != "" {
		os.RemoveAll(unpacked.dir)
	}
	os.Exit(code)
}
