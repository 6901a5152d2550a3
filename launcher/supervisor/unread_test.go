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

// supervisedVariable makes the test binary a process that writes to a standard output
// that nobody reads: as a supervisor, or as an ordinary process.
const supervisedVariable = "GPULAUNCH_TEST_WRITES_UNREAD"

// writeUnread ends the process if it is that one.
func writeUnread() {
	role, ok := os.LookupEnv(supervisedVariable)
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

// A supervisor may write as soon as its first phase has begun. It used to die of SIGPIPE in
// its first milliseconds, and with it all that it was to watch over.
func TestOutlivesItsReader(t *testing.T) {
	for range 50 {
		if err := runUnread(t, "supervisor"); err != nil {
			t.Fatal(err)
		}
	}
	// The control: what is no supervisor does die.
	err := runUnread(t, "ordinary")
	if err == nil || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("an ordinary process ended with %v, not by SIGPIPE", err)
	}
}

func TestMain(m *testing.M) {
	writeUnread()
	os.Exit(m.Run())
}

// runUnread runs the process and says how it ended.
func runUnread(t *testing.T, role string) error {
	t.Helper()
	_, theirs := launchertest.Link(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), supervisedVariable+"="+role)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = w, os.Stderr, []*os.File{theirs}
	return cmd.Run()
}
