//go:build linux

package errorfile

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// newFolder makes a folder that is removed when the test ends.
func newFolder(t *testing.T) *Folder {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	f, err := Make()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Remove)
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// valid is an error file without errors.
const valid = `{"message": "text"}`

func write(t *testing.T, name, text string) {
	t.Helper()
	must(t, os.WriteFile(name, []byte(text), 0o600))
}

// wantError reads the file of rank 0 in attempt 0 and wants this error.
func wantError(t *testing.T, f *Folder, want string) {
	t.Helper()
	if r, err := f.Read(0, 0); r != nil || err == nil || err.Error() != want {
		t.Errorf("Read returns %v, %v, want the error %q", r, err, want)
	}
}

// wantNothing wants Read to find no record and no error.
func wantNothing(t *testing.T, f *Folder, attempt, rank int) {
	t.Helper()
	if r, err := f.Read(attempt, rank); r != nil || err != nil {
		t.Errorf("Read(%d, %d) returns %v, %v, want nothing", attempt, rank, r, err)
	}
}

// wantMissing wants the folder to be gone.
func wantMissing(t *testing.T, f *Folder) {
	t.Helper()
	if _, err := os.Lstat(f.Path()); !os.IsNotExist(err) {
		t.Errorf("%s still exists after Remove (%v)", f.Path(), err)
	}
}

func TestMakeAndRemove(t *testing.T) {
	f := newFolder(t)
	info, err := os.Stat(f.Path())
	must(t, err)
	if info.Mode() != os.ModeDir|0o700 || filepath.Dir(f.Path()) != os.Getenv("TMPDIR") {
		t.Errorf("%s has mode %s, want a folder in TMPDIR with mode 0700", f.Path(), info.Mode())
	}
	if want := f.Path() + "/error-2-13.json"; f.Name(2, 13) != want {
		t.Errorf("Name(2, 13) is %s, want %s", f.Name(2, 13), want)
	}
	flags, err := unix.FcntlInt(f.dir.Fd(), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("workers inherit the folder's descriptor: its flags are %#x (%v)", flags, err)
	}
	f.Remove()
	wantMissing(t, f)
	wantError(t, f, "its folder has been removed")

	t.Setenv("TMPDIR", f.Path())
	if f, err := Make(); err == nil {
		t.Errorf("Make made %s in a folder that does not exist", f.Path())
	}
}

func TestRead(t *testing.T) {
	f := newFolder(t)
	for _, text := range []string{"", "{}"} {
		write(t, f.Name(0, 0), text) // a file of another attempt
		wantNothing(t, f, 1, 0)
	}
	write(t, f.Name(1, 0), "")
	wantNothing(t, f, 1, 0)
	write(t, f.Name(1, 0), `{"message": {"message": "ValueError: x", "errorCode": 7}}`)
	r, err := f.Read(1, 0)
	must(t, err)
	if diff := cmp.Diff(&Record{Message: "ValueError: x", Code: 7}, r); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	wantError(t, f, "it contains no message")
}

// hostile are the kinds of files that a worker could leave instead of an error file.
var hostile = map[string]struct {
	put  func(t *testing.T, name string) error
	want string
}{
	"truncated": {func(t *testing.T, name string) error {
		return os.WriteFile(name, []byte(valid[:10]), 0o600)
	}, "it is not JSON: unexpected end of JSON input"},
	"FIFO": {func(t *testing.T, name string) error {
		return unix.Mkfifo(name, 0o600)
	}, "it is a named pipe"},
	"folder": {func(t *testing.T, name string) error {
		return os.Mkdir(name, 0o700)
	}, "it is a folder"},
	"socket": {putSocket, "it is a socket"},
	"link to a file": {func(t *testing.T, name string) error {
		return os.Symlink("/etc/passwd", name)
	}, "it is a symbolic link"},
	"link to nothing": {func(t *testing.T, name string) error {
		return os.Symlink("nothing", name)
	}, "it is a symbolic link"},
	"link to itself": {func(t *testing.T, name string) error {
		return os.Symlink(name, name)
	}, "it is a symbolic link"},
	"link to a neighbour": {func(t *testing.T, name string) error {
		write(t, name+".real", valid)
		return os.Symlink(filepath.Base(name)+".real", name)
	}, "it is a symbolic link"},
	"hard link": {func(t *testing.T, name string) error {
		secret := filepath.Join(t.TempDir(), "secret")
		write(t, secret, valid)
		return os.Link(secret, name)
	}, "it has 2 hard links"},
	"device": {func(t *testing.T, name string) error {
		zero := unix.Mkdev(1, 5) // /dev/zero
		if err := unix.Mknod(name, unix.S_IFCHR|0o600, int(zero)); err != nil {
			nvmltest.Unavailable(t, fmt.Sprintf("cannot make a device node (%v): run as root", err))
		}
		return nil
	}, "it is a device"},
	"huge": {func(t *testing.T, name string) error {
		write(t, name, valid)
		return os.Truncate(name, 1<<40)
	}, "it is 1099511627776 bytes long, more than 1 MiB"},
	"one byte too long": {func(t *testing.T, name string) error {
		write(t, name, valid+strings.Repeat(" ", sizeLimit+1-len(valid)))
		return nil
	}, "it is 1048577 bytes long, more than 1 MiB"},
	"unreadable": {func(t *testing.T, name string) error {
		write(t, name, valid)
		withoutOverride(t)
		return os.Chmod(name, 0)
	}, "permission denied"},
}

// withoutOverride takes the capabilities with which root reads every file (capabilities(7)) from
// this goroutine's thread until the test ends. It takes nothing from an ordinary user.
func withoutOverride(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var before [2]unix.CapUserData
	must(t, unix.Capget(&header, &before[0]))
	now := before
	now[0].Effective &^= 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH
	must(t, unix.Capset(&header, &now[0]))
	t.Cleanup(func() {
		must(t, unix.Capset(&header, &before[0]))
		runtime.UnlockOSThread()
	})
}

// putSocket works in the socket's folder, because a socket's address has room for only 107 bytes
// (unix(7)).
func putSocket(t *testing.T, name string) error {
	t.Chdir(filepath.Dir(name))
	address := net.UnixAddr{Name: "/proc/self/cwd/" + filepath.Base(name), Net: "unix"}
	l, err := net.ListenUnix("unix", &address)
	if err == nil {
		t.Cleanup(func() { l.Close() })
	}
	return err
}

// TestReadHostile wants Read to refuse each of these files. If the test hangs, a worker can keep
// the launcher waiting.
func TestReadHostile(t *testing.T) {
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t)
			must(t, c.put(t, f.Name(0, 0)))
			wantError(t, f, c.want)
			f.Remove()
			wantMissing(t, f)
		})
	}
}

func TestReadLargest(t *testing.T) {
	f := newFolder(t)
	write(t, f.Name(0, 0), valid+strings.Repeat(" ", sizeLimit-len(valid)))
	if r, err := f.Read(0, 0); err != nil || r.Message != "text" {
		t.Errorf("Read returns %v, %v for a file of exactly 1 MiB, want the message text", r, err)
	}
}

// TestReadLeased reads a file on which another descriptor holds a lease. Without O_NONBLOCK,
// opening it would wait up to 45 seconds for the lease (fcntl(2), F_SETLEASE).
func TestReadLeased(t *testing.T) {
	f := newFolder(t)
	write(t, f.Name(0, 0), valid)
	holder, err := os.OpenFile(f.Name(0, 0), os.O_RDWR, 0)
	must(t, err)
	defer holder.Close()
	if _, err := unix.FcntlInt(holder.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		nvmltest.Unavailable(t, fmt.Sprintf("files here cannot have leases (%v): "+
			"set TMPDIR to a folder on a local file system", err))
	}
	wantError(t, f, "resource temporarily unavailable")
}

// TestReadGrowing reads a file that has become longer since its size was read.
func TestReadGrowing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	write(t, name, valid)
	const growing = "it is still being written"
	for size, want := range map[int64]string{0: growing, 18: growing, 19: "", 50: ""} {
		file, err := os.Open(name)
		must(t, err)
		data, err := readAll(file, size)
		switch {
		case want == "" && (err != nil || string(data) != valid):
			t.Errorf("size %d: readAll returns %q, %v, want all of the file", size, data, err)
		case want != "" && (err == nil || err.Error() != want):
			t.Errorf("size %d: readAll returns %q, %v, want the error %q", size, data, err, want)
		}
		file.Close()
	}
	dir, err := os.Open(t.TempDir())
	must(t, err)
	defer dir.Close()
	if _, err := readAll(dir, 5); err != unix.EISDIR {
		t.Errorf("readAll returns the error %v for a folder, want %v", err, unix.EISDIR)
	}
}

// TestReadRaced exchanges the file again and again while it is read, with a link to another record
// and with a FIFO. Read must open the same file that it has checked.
func TestReadRaced(t *testing.T) {
	f := newFolder(t)
	name, link, fifo := f.Name(0, 0), f.Name(0, 1), f.Name(0, 2)
	forged := filepath.Join(t.TempDir(), "forged")
	write(t, forged, `{"message": "forged"}`)
	write(t, name, valid)
	must(t, os.Symlink(forged, link))
	must(t, unix.Mkfifo(fifo, 0o600))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			for _, other := range []string{link, fifo} {
				_ = unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	outcomes := map[string]int{}
	for range 5000 {
		r, err := f.Read(0, 0)
		if err == nil && (r == nil || r.Message != "text") {
			t.Errorf("Read returns %v, want the message text or an error", r)
			break
		}
		outcomes[fmt.Sprint(err)]++
	}
	close(stop)
	<-stopped
	t.Log(outcomes)
}

// TestReplacedFolder moves the folder away, as a worker could, and puts something else in its
// place. The folder that was made is read and emptied, and the other one is left alone.
func TestReplacedFolder(t *testing.T) {
	for _, how := range []string{"a link", "a folder", "an empty folder"} {
		t.Run(how, func(t *testing.T) {
			f := newFolder(t)
			away, other := f.Path()+".away", t.TempDir()
			write(t, f.Name(0, 0), valid)
			must(t, os.Rename(f.Path(), away))
			if how == "a link" {
				must(t, os.Symlink(other, f.Path()))
			} else {
				must(t, os.Mkdir(f.Path(), 0o700))
				other = f.Path()
			}
			if how != "an empty folder" {
				write(t, f.Name(0, 0), `{"message": "forged"}`)
				write(t, f.Name(0, 1), `{"message": "forged"}`)
			}
			if r, err := f.Read(0, 0); err != nil || r.Message != "text" {
				t.Errorf("Read returns %v, %v, want the message text", r, err)
			}
			wantNothing(t, f, 0, 1)
			before, err := os.ReadDir(other)
			must(t, err)
			f.Remove()
			after, err := os.ReadDir(other)
			if err != nil || len(after) != len(before) {
				t.Errorf("Remove left %d of %d files in the other folder (%v)",
					len(after), len(before), err)
			}
			if left, err := os.ReadDir(away); err != nil || len(left) != 0 {
				t.Errorf("Remove left %v in the folder that was moved (%v)", left, err)
			}
		})
	}
}

// TestRemoveStaysInside removes a folder with links out of it.
func TestRemoveStaysInside(t *testing.T) {
	f, outside := newFolder(t), t.TempDir()
	kept := filepath.Join(outside, "kept")
	write(t, kept, "x")
	deep := filepath.Join(f.Path(), "a", "b", "c")
	must(t, os.MkdirAll(deep, 0o700))
	for i, dir := range []string{f.Path(), deep} {
		must(t, os.Symlink(outside, filepath.Join(dir, "folder")))
		must(t, os.Symlink(kept, filepath.Join(dir, "file")))
		must(t, os.Symlink("..", filepath.Join(dir, "up")))
		must(t, os.Link(kept, filepath.Join(dir, fmt.Sprint("hard", i))))
		must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0))
	}
	for i := range 1100 { // more than empty removes at a time
		write(t, filepath.Join(f.Path(), fmt.Sprint(i)), "")
	}
	must(t, os.Chmod(f.Path(), 0))
	f.Remove()
	wantMissing(t, f)
	if text, err := os.ReadFile(kept); err != nil || string(text) != "x" {
		t.Errorf("a file outside the folder contains %q (%v), want \"x\"", text, err)
	}
}
