//go:build linux

package forkserver

import (
	"fmt"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// TestTemplateKilled wants everybody who uses a template process to learn how it ended.
func TestTemplateKilled(t *testing.T) {
	over := make(chan *exec.Cmd, 1)
	cfg := modules(t)
	cfg.Ended = func(cmd *exec.Cmd) { over <- cmd }
	template := usable(t, cfg)
	if err := unix.Kill(template.Facts().PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-template.Dead()
	if got := template.Exit(); got != ended(unix.SIGKILL) {
		t.Errorf("Exit returns %q, want %q", got, ended(unix.SIGKILL))
	}
	if cmd := <-over; cmd.ProcessState == nil {
		t.Error("Ended was called before the process was waited for")
	}
	_, err := template.Fork(Spec{Files: null(t)}, nil)
	want := fmt.Sprintf("the template process (pid %d) %s",
		template.Facts().PID, ended(unix.SIGKILL))
	if err == nil || err.Error() != want {
		t.Errorf("Fork returns the error %v, want %s", err, want)
	}
	template.Close()
	template.Close()
	if _, err := template.Fork(Spec{Files: null(t)}, nil); err == nil {
		t.Error("Fork returns no error after Close")
	}
}

func TestCloseWhileImporting(t *testing.T) {
	cfg := modules(t, "hangs")
	out, w := pipe(t)
	cfg.Stdout = w
	template := begin(t, cfg)
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	result := make(chan error)
	go func() {
		_, err := template.Fork(Spec{Files: null(t)}, nil)
		result <- err
	}()
	template.Close()
	if err := <-result; err != errClosed || template.Err() != errClosed {
		t.Errorf("Fork and Err return %v and %v, want %v", err, template.Err(), errClosed)
	}
	if got := template.Exit(); got != ended(unix.SIGKILL) {
		t.Errorf("Exit returns %q, want %q", got, ended(unix.SIGKILL))
	}
}

func TestCloseAtOnce(t *testing.T) {
	template := begin(t, modules(t, "json"))
	template.Close()
	<-template.Ready()
	if err := template.Err(); err != errClosed {
		t.Errorf("Err returns %v, want %v", err, errClosed)
	}
}

// TestCloseWhileForking has a template process that does not answer.
func TestCloseWhileForking(t *testing.T) {
	template := usable(t, modules(t))
	pid := template.Facts().PID
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	_, err := unix.Wait4(pid, &status, unix.WUNTRACED, nil) // returns when it has stopped
	if err != nil || !status.Stopped() {
		t.Fatalf("the template process has the wait status %#x (%v), want it stopped", status, err)
	}
	result := make(chan error)
	go func() {
		_, err := template.Fork(Spec{Files: null(t)}, nil)
		result <- err
	}()
	template.Close()
	if err := <-result; err != errClosed {
		t.Errorf("Fork returns the error %v, want %v", err, errClosed)
	}
}

// TestCloseWhileSettingUp has a worker that does not answer.
func TestCloseWhileSettingUp(t *testing.T) {
	launchertest.BecomeSubreaper(t)
	template := usable(t, modules(t))
	var worker int
	_, err := template.Fork(Spec{Files: null(t)}, func(pid int) error {
		worker = pid
		if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
			return err
		}
		go template.Close()
		return nil
	})
	if err != errClosed {
		t.Errorf("Fork returns the error %v, want %v", err, errClosed)
	}
	if exit := reap(t, worker); !exit.EndedBy(unix.SIGKILL) {
		t.Errorf("the worker %s, want SIGKILL", exit)
	}
}
