package affinity

import (
	"fmt"
	"os"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
)

// childVariable makes the test binary a child that runs one of childJobs and nothing else.
const childVariable = "AFFINITY_TEST_CHILD"

// childJobs are what a child can do, by the value of childVariable. The tests that need Linux add
// theirs.
var childJobs = map[string]func() error{}

func TestMain(m *testing.M) {
	if job, ok := childJobs[os.Getenv(childVariable)]; ok {
		if err := job(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(affinitytest.Main(m))
}
