package supervisor

import (
	"fmt"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// counter is a Phase that counts its calls.
type counter struct {
	stops, kills int
	passed       []syscall.Signal
}

func (c *counter) Stop(Request)            { c.stops++ }
func (c *counter) Hurry(Request)           {}
func (c *counter) Kill(Request)            { c.kills++ }
func (c *counter) Suspend(done func())     { done() }
func (c *counter) Pass(sig syscall.Signal) { c.passed = append(c.passed, sig) }

// FuzzKeeperRequests checks that whatever bytes the keeper sends, a phase is asked to stop at most
// once, no signal that asks for the end is passed on to workers, and the state never goes back.
func FuzzKeeperRequests(f *testing.F) {
	f.Add([]byte{byte(unix.SIGTERM), 0xf0, 0xf1})
	f.Add([]byte{byte(unix.SIGTSTP), byte(unix.SIGCONT), byte(unix.SIGUSR1), 0, 0xff})
	f.Add([]byte{0xf1, byte(unix.SIGINT), 0xf0, byte(unix.SIGTSTP), 64})
	f.Fuzz(func(t *testing.T, bytes []byte) {
		c, phase := newControl(), &counter{}
		s := &Supervisor{}
		c.Begin("test", phase)
		for _, b := range bytes {
			before := c.state
			r := s.keeperRequest(b)
			_ = fmt.Sprint(r)
			c.Request(r)
			if c.state < before {
				t.Errorf("% x: from %s to %s", bytes, before, c.state)
			}
		}
		if phase.stops > 1 {
			t.Errorf("% x: the phase is asked to stop %d times", bytes, phase.stops)
		}
		for _, sig := range phase.passed {
			if sig == unix.SIGTERM || sig == unix.SIGINT || sig == unix.SIGHUP ||
				sig == unix.SIGQUIT || sig == unix.SIGTSTP {
				t.Errorf("% x: %s is passed on", bytes, unix.SignalName(sig))
			}
		}
		first, stopped := c.Stopped()
		if code := first.ExitCode(); stopped && (code < 1 || code > 255) {
			t.Errorf("% x: the exit code is %d", bytes, code)
		}
	})
}
