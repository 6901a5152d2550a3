package keeper

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
)

// TestDrain checks that what a supervisor has written before its end, and a signal that came with
// it, count although the keeper has seen the end first.
func TestDrain(t *testing.T) {
	k := &Keeper{stops: make(chan os.Signal, 1), messages: make(chan message)}
	k.stops <- unix.SIGTERM
	go func() {
		for _, m := range []message{{link.Cgroup, ""}, {link.Folder, "/a/folder"},
			{link.Suspended, ""}, {link.LeaveBehind, ""}, {link.Exit, "0"}} {
			k.messages <- m
		}
		close(k.messages)
	}()
	k.drain()
	if !k.announcedExit || !k.leaveBehind || k.folder != "/a/folder" {
		t.Errorf("of the messages is left: %+v", k)
	}
	if k.requests.first != unix.SIGTERM {
		t.Errorf("the first request for the end is %s", k.requests.first)
	}
}

// TestFinishDrains checks the same for the exit code: without the message, the end is a crash.
func TestFinishDrains(t *testing.T) {
	messages := make(chan message, 1)
	messages <- message{link.Exit, "0"}
	close(messages)
	k := &Keeper{reaped: true, messages: messages, inherited: inherited{alive: listExcept(0)},
		childEnded: make(chan os.Signal, 1)}
	if code := k.finish(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
