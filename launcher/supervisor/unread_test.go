package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/launcher/keeper/early"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// unreadVariable is an environment variable. It makes the test binary a process that writes to a
// pipe that nobody reads, either as a supervisor or as an ordinary process.
const unreadVariable = "GPULAUNCH_TEST_WRITES_UNREAD"

// writeUnread does nothing unless this process has that variable. Otherwise it writes and exits.
func writeUnread() {
	role, ok := os.LookupEnv(unreadVariable)
	if !ok {
		return
	}
	if role == "supervisor" {
		s, err := Connect("3", early.Subscribe())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		s.Begin("writing", NoPhase{})
	}
	if _, err := fmt.Println("nobody reads this"); err == nil {
		os.Exit(2)
	}
	os.Exit(0)
}

// TestOutlivesItsReader checks that a supervisor may write as soon as its first phase has begun. It
// used to be ended by SIGPIPE in its first milliseconds, while its workers were running.
func TestOutlivesItsReader(t *testing.T) {
	for range 50 {
		if err := runUnread(t, "supervisor"); err != nil {
			t.Fatal(err)
		}
	}
	// The negative control: a process that is not a supervisor is ended by SIGPIPE.
	err := runUnread(t, "ordinary")
	if err == nil || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("an ordinary process ended with %v, not by SIGPIPE", err)
	}
}

func TestMain(m *testing.M) {
	writeUnread()
	os.Exit(m.Run())
}

// runUnread runs such a process and returns the error with which it ended.
func runUnread(t *testing.T, role string) error {
	t.Helper()
	_, theirs := launchertest.ListeningLink(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), unreadVariable+"="+role)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = w, os.Stderr, []*os.File{theirs}
	return cmd.Run()
}
