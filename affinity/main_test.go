package affinity

import (
	"fmt"
	"os"
	"testing"
)

// childVariable makes the test binary print the CPUs that it may use, and nothing else.
const childVariable = "AFFINITY_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		list, err := allowedInStatus("/proc/self/status")
		fmt.Print(list)
		if err != nil {
			fmt.Fprint(os.Stderr, err)
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
