//go:build linux

package chaos

import (
	"os"
	"testing"

	// The tests run a binary that contains this package. Because it is imported here, go test
	// does not use cached results after it has changed.
	_ "github.com/gpulaunch/gpulaunch/launcher/keeper"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// All processes of these tests execute the test binary, in one of these roles:
//
//	host       is the parent of one job and waits for all processes that it leaves (host_test.go)
//	worker     is a worker of the job and the root of a process tree (member_test.go)
//	member     is a descendant of a worker (member_test.go)
//	fork       starts a member and exits, so that the member loses its parent (member_test.go)
//	bystander  has nothing to do with the job (bystander_test.go)
//	without    switches off a mechanism and executes the launcher (without_test.go)
const roleArg = "gpulaunch-chaos"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == roleArg {
		os.Exit(play(os.Args[2], os.Args[3:]))
	}
	os.Exit(launchertest.Main(m))
}

func play(role string, args []string) int {
	switch role {
	case "host":
		return hostMain(args[0])
	case "worker":
		return workerMain(args[0], args[1])
	case "member":
		return memberMain(args[0])
	case "fork":
		return forkMain(args[0])
	case "bystander":
		return bystanderMain()
	case "without":
		return withoutMain(args[0], args[1:])
	}
	return 2
}

// asRole returns the command line of a role.
func asRole(role string, args ...string) []string {
	return append([]string{"/proc/self/exe", roleArg, role}, args...)
}
