//go:build linux

package chaos

import (
	"os"
	"testing"

	// What is tested is linked into another program; named here, a change to it makes
	// go test run these tests again rather than repeat what they said.
	_ "github.com/gpulaunch/gpulaunch/launcher/keeper"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// The processes of these tests are this binary, run again in a role:
//
//	host       parent of one job and reaper of all that it leaves (host_test.go)
//	worker     a worker of the job, the root of a tree (member_test.go)
//	member     a process below a worker
//	fork       starts a member and ends, so that the member loses its parent
//	bystander  has nothing to do with the job (bystander_test.go)
//	without    becomes the launcher with a mechanism switched off (without_test.go)
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

// asRole is the command line of a role.
func asRole(role string, args ...string) []string {
	return append([]string{"/proc/self/exe", roleArg, role}, args...)
}
