//go:build linux

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

const unreadInput = "gpulaunch: warning: the standard input has data that no worker reads"

// TestUnreadInput has standard inputs of all kinds that no worker gets. Only those that have data
// are worth a word.
func TestUnreadInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(file, []byte("data\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(name string) *os.File {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	readFile := open(file)
	if _, err := io.ReadAll(readFile); err != nil {
		t.Fatal(err)
	}
	written, w := pipe(t)
	if _, err := w.WriteString("data\n"); err != nil {
		t.Fatal(err)
	}
	silent, _ := pipe(t)
	ended, w := pipe(t)
	w.Close()
	master, terminal := launchertest.OpenTerminal(t)
	if _, err := master.WriteString("data\n"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		stdin *os.File
		flag  string
		said  int
	}{
		"file":                {open(file), "-q", 1},
		"pipe":                {written, "-q", 1},
		"file for rank 0":     {open(file), "--stdin=rank0", 0},
		"file that was read":  {readFile, "-q", 0},
		"nothing":             {open(os.DevNull), "-q", 0},
		"pipe without data":   {silent, "-q", 0},
		"pipe without writer": {ended, "-q", 0},
		"terminal":            {terminal, "-q", 0},
		"folder":              {open(t.TempDir()), "-q", 0},
	} {
		j := launchertest.StartWithInput(t, c.stdin, nil, "run", "--nproc-per-node=2", c.flag,
			"true")
		code, stderr := j.Exit()
		if n := strings.Count(stderr, unreadInput); code != 0 || n != c.said {
			t.Errorf("%s: exit code %d, said %d times, want %d:\n%s", name, code, n, c.said, stderr)
		}
	}
}

// TestInputAfterTheStart writes to a pipe when the job runs already: what starts both, as
// "program | gpulaunch run …", does not wait for the data.
func TestInputAfterTheStart(t *testing.T) {
	r, w := pipe(t)
	j := launchertest.StartWithInput(t, r, nil, append([]string{"run", "-q", "--nproc-per-node=1"},
		launchertest.Worker("relay")...)...)
	j.Await(1, "ready")
	if _, stderr := j.Output(); strings.Contains(stderr, unreadInput) {
		t.Errorf("said before there was anything:\n%s", stderr)
	}
	if _, err := w.WriteString("data\n"); err != nil {
		t.Fatal(err)
	}
	j.Signal(unix.SIGTERM)
	if _, stderr := j.Exit(); strings.Count(stderr, unreadInput) != 1 {
		t.Errorf("%s", stderr)
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}
