//go:build linux

package errorfile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// TestTmpfiles lets systemd-tmpfiles remove all that is in TMPDIR. It leaves the folder alone, and
// removes another one that nobody has locked.
func TestTmpfiles(t *testing.T) {
	program, err := exec.LookPath("systemd-tmpfiles")
	if err != nil {
		nvmltest.Unavailable(t, "systemd-tmpfiles is not here: install systemd")
	}
	f := newFolder(t)
	tmp := filepath.Dir(f.Path())
	write(t, f.Name(0, 0), valid)
	unlocked := filepath.Join(tmp, "unlocked")
	must(t, os.Mkdir(unlocked, 0o700))
	write(t, filepath.Join(unlocked, "file"), "text")
	config := filepath.Join(t.TempDir(), "clean.conf")
	write(t, config, fmt.Sprintf("e %s - - - 0\n", tmp))
	if out, err := exec.Command(program, "--clean", config).CombinedOutput(); err != nil {
		t.Fatalf("systemd-tmpfiles: %v: %s", err, out)
	}
	if _, err := os.Lstat(unlocked); !os.IsNotExist(err) {
		t.Errorf("systemd-tmpfiles has not removed what is not locked (%v)", err)
	}
	if r, err := f.Read(0, 0); r == nil || err != nil || !f.Intact() {
		t.Errorf("the error file reads as %v, %v, and the folder is intact: %v", r, err, f.Intact())
	}
}

// TestLock wants the folder locked until it is removed.
func TestLock(t *testing.T) {
	f := newFolder(t)
	other, err := os.Open(f.Path())
	must(t, err)
	defer other.Close()
	exclusive := func() error {
		return unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err := exclusive(); err != unix.EWOULDBLOCK {
		t.Errorf("the folder can be locked by others: %v", err)
	}
	f.Remove()
	if err := exclusive(); err != nil {
		t.Errorf("the folder stays locked: %v", err)
	}
}

func TestIntact(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, path string)
		want   bool
	}{
		"nothing happened": {func(*testing.T, string) {}, true},
		"removed": {func(t *testing.T, path string) {
			must(t, os.RemoveAll(path))
		}, false},
		"moved": {func(t *testing.T, path string) {
			must(t, os.Rename(path, path+"-moved"))
		}, false},
		"replaced": {func(t *testing.T, path string) {
			must(t, os.Remove(path))
			must(t, os.Mkdir(path, 0o700))
		}, false},
		"a link": {func(t *testing.T, path string) {
			must(t, os.Rename(path, path+"-moved"))
			must(t, os.Symlink(path+"-moved", path))
		}, false},
		"without permissions": {func(t *testing.T, path string) {
			must(t, os.Chmod(path, 0))
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t)
			c.change(t, f.Path())
			if got := f.Intact(); got != c.want {
				t.Errorf("Intact returns %v", got)
			}
			if info, err := os.Stat(f.Path()); c.want &&
				(err != nil || info.Mode().Perm() != 0o700) {
				t.Errorf("workers cannot write to it: %v, %v", info, err)
			}
			f.Remove()
			if f.Intact() {
				t.Error("it is intact after Remove")
			}
		})
	}
}

func TestTouch(t *testing.T) {
	f := newFolder(t)
	old := time.Now().Add(-240 * time.Hour)
	must(t, os.Chtimes(f.Path(), old, old))
	f.Touch()
	info, err := os.Stat(f.Path())
	if err != nil || time.Since(info.ModTime()) > time.Hour {
		t.Errorf("the folder is from %v (%v)", info.ModTime(), err)
	}
	f.Remove()
	f.Touch()
}

func TestForget(t *testing.T) {
	f := newFolder(t)
	write(t, f.Name(0, 0), valid)
	write(t, f.Name(0, 1), valid)
	must(t, os.MkdirAll(filepath.Join(f.Name(0, 2), "deep"), 0o700))
	outside := filepath.Join(t.TempDir(), "outside")
	must(t, os.Mkdir(outside, 0o700))
	must(t, os.Symlink(outside, f.Name(0, 3)))
	for _, rank := range []int{0, 2, 3, 4} {
		f.Forget(0, rank)
	}
	wantNothing(t, f, 0, 0)
	if r, err := f.Read(0, 1); r == nil || err != nil {
		t.Errorf("another worker's file reads as %v, %v", r, err)
	}
	if entries, err := os.ReadDir(f.Path()); err != nil || len(entries) != 1 {
		t.Errorf("%v are left (%v), want one file", entries, err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("a link was followed: %v", err)
	}
	f.Remove()
	f.Forget(0, 1)
}
