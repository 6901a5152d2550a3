//go:build linux

package errorfile

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// private makes a folder for one test.
func private(t *testing.T) *Folder {
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

const valid = `{"message": "text"}`

func write(t *testing.T, name, text string) {
	t.Helper()
	must(t, os.WriteFile(name, []byte(text), 0o600))
}

// wantError wants rank 0's file of attempt 0 to be refused with a phrase.
func wantError(t *testing.T, f *Folder, want string) {
	t.Helper()
	if r, err := f.Read(0, 0); r != nil || err == nil || err.Error() != want {
		t.Errorf("got %v, %v, want the error %q", r, err, want)
	}
}

func TestMakeAndRemove(t *testing.T) {
	f := private(t)
	info, err := os.Stat(f.Path())
	must(t, err)
	if info.Mode() != os.ModeDir|0o700 || filepath.Dir(f.Path()) != os.Getenv("TMPDIR") {
		t.Errorf("%s has mode %s", f.Path(), info.Mode())
	}
	if want := f.Path() + "/error-2-13.json"; f.Name(2, 13) != want {
		t.Errorf("the name is %s, want %s", f.Name(2, 13), want)
	}
	if flags, err := unix.FcntlInt(f.dir.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("workers inherit the folder (%#x, %v)", flags, err)
	}
	f.Remove()
	if _, err := os.Lstat(f.Path()); !os.IsNotExist(err) {
		t.Errorf("the folder is still there (%v)", err)
	}
	wantError(t, f, "bad file descriptor")

	t.Setenv("TMPDIR", f.Path())
	if f, err := Make(); err == nil {
		t.Errorf("made %s in a folder that is gone", f.Path())
	}
}

func TestRead(t *testing.T) {
	f := private(t)
	for _, text := range []string{"", "{}"} {
		write(t, f.Name(0, 0), text) // other ranks' and attempts' files do not matter
		if r, err := f.Read(1, 0); r != nil || err != nil {
			t.Errorf("without a file: %v, %v", r, err)
		}
	}
	write(t, f.Name(1, 0), "")
	if r, err := f.Read(1, 0); r != nil || err != nil {
		t.Errorf("with an empty file: %v, %v", r, err)
	}
	write(t, f.Name(1, 0), `{"message": {"message": "ValueError: x", "errorCode": 7}}`)
	r, err := f.Read(1, 0)
	must(t, err)
	if diff := cmp.Diff(&Record{Message: "ValueError: x", Code: 7}, r); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	wantError(t, f, "no message in it")
}

// TestReadHostile puts each kind of file that is no record where one is expected. A
// test that hangs here has found a way to hold the launcher up.
func TestReadHostile(t *testing.T) {
	for name, c := range map[string]struct {
		put  func(t *testing.T, name string)
		want string
	}{
		"truncated": {func(t *testing.T, name string) { write(t, name, valid[:10]) }, "not JSON: unexpected end of JSON input"},
		"FIFO":      {func(t *testing.T, name string) { must(t, unix.Mkfifo(name, 0o600)) }, "a named pipe"},
		"folder":    {func(t *testing.T, name string) { must(t, os.Mkdir(name, 0o700)) }, "a folder"},
		"socket": {func(t *testing.T, name string) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "/proc/self/cwd/" + shorten(t, name), Net: "unix"})
			must(t, err)
			t.Cleanup(func() { l.Close() })
		}, "a socket"},
		"link to a file":  {func(t *testing.T, name string) { must(t, os.Symlink("/etc/passwd", name)) }, "a symbolic link"},
		"link to nothing": {func(t *testing.T, name string) { must(t, os.Symlink("nothing", name)) }, "a symbolic link"},
		"link to itself":  {func(t *testing.T, name string) { must(t, os.Symlink(name, name)) }, "a symbolic link"},
		"link to a neighbour": {func(t *testing.T, name string) {
			write(t, name+".real", valid)
			must(t, os.Symlink(filepath.Base(name)+".real", name))
		}, "a symbolic link"},
		"hard link": {func(t *testing.T, name string) {
			secret := filepath.Join(t.TempDir(), "secret")
			write(t, secret, valid)
			must(t, os.Link(secret, name))
		}, "a file with 2 hard links"},
		"device": {func(t *testing.T, name string) {
			if err := unix.Mknod(name, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))); err != nil { // /dev/zero
				nvmltest.Unavailable(t, fmt.Sprintf("device nodes cannot be made (%v): run as root", err))
			}
		}, "a device"},
		"huge": {func(t *testing.T, name string) {
			write(t, name, valid)
			must(t, os.Truncate(name, 1<<40))
		}, "1099511627776 bytes, more than 1 MiB"},
		"one byte too many": {func(t *testing.T, name string) {
			write(t, name, valid+strings.Repeat(" ", sizeLimit+1-len(valid)))
		}, "1048577 bytes, more than 1 MiB"},
		"unreadable": {func(t *testing.T, name string) {
			if os.Geteuid() == 0 {
				t.Skip("root reads everything")
			}
			write(t, name, valid)
			must(t, os.Chmod(name, 0))
		}, "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			f := private(t)
			c.put(t, f.Name(0, 0))
			wantError(t, f, c.want)
			f.Remove()
			if _, err := os.Lstat(f.Path()); !os.IsNotExist(err) {
				t.Errorf("the folder is still there (%v)", err)
			}
		})
	}
}

// shorten gives a name from the working directory, made the file's folder for the
// test: a socket's address has room for 107 bytes (unix(7)).
func shorten(t *testing.T, name string) string {
	t.Chdir(filepath.Dir(name))
	return filepath.Base(name)
}

func TestReadLargest(t *testing.T) {
	f := private(t)
	write(t, f.Name(0, 0), valid+strings.Repeat(" ", sizeLimit-len(valid)))
	if r, err := f.Read(0, 0); err != nil || r.Message != "text" {
		t.Errorf("got %v, %v", r, err)
	}
}

// TestReadLeased: opening a file whose lease another descriptor holds waits up to 45
// seconds for it to be given back, unless told not to wait (fcntl(2), F_SETLEASE).
func TestReadLeased(t *testing.T) {
	f := private(t)
	write(t, f.Name(0, 0), valid)
	holder, err := os.OpenFile(f.Name(0, 0), os.O_RDWR, 0)
	must(t, err)
	defer holder.Close()
	if _, err := unix.FcntlInt(holder.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		nvmltest.Unavailable(t, fmt.Sprintf("no leases on files here (%v): set TMPDIR to a local file system", err))
	}
	wantError(t, f, "resource temporarily unavailable")
}

// TestReadGrowing reads a file that is longer than it was when its size was looked at.
func TestReadGrowing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	write(t, name, valid)
	for size, want := range map[int64]string{0: "still being written", 18: "still being written", 19: "", 50: ""} {
		file, err := os.Open(name)
		must(t, err)
		data, err := readAll(file, size)
		if want == "" && (err != nil || string(data) != valid) || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("size %d: got %q, %v", size, data, err)
		}
		file.Close()
	}
	dir, err := os.Open(t.TempDir())
	must(t, err)
	defer dir.Close()
	if _, err := readAll(dir, 5); err != unix.EISDIR {
		t.Errorf("a folder: %v", err)
	}
}

// TestReadRaced replaces the file again and again while it is read, by a link to another
// record and by a FIFO: what was looked at and what is opened must be the same.
func TestReadRaced(t *testing.T) {
	f := private(t)
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
			t.Errorf("read %v", r)
			break
		}
		outcomes[fmt.Sprint(err)]++
	}
	close(stop)
	<-stopped
	t.Log(outcomes)
}

// TestReplacedFolder: a worker moves the folder away and puts a link to another one in
// its place. The held folder is read and emptied, the other one left alone.
func TestReplacedFolder(t *testing.T) {
	for _, how := range []string{"a link", "a folder", "an empty folder"} {
		t.Run(how, func(t *testing.T) {
			f := private(t)
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
				t.Errorf("got %v, %v", r, err)
			}
			if r, err := f.Read(0, 1); r != nil || err != nil {
				t.Errorf("without a file: %v, %v", r, err)
			}
			before, err := os.ReadDir(other)
			must(t, err)
			f.Remove()
			after, err := os.ReadDir(other)
			if err != nil || len(after) != len(before) {
				t.Errorf("the other folder has %d of %d files left (%v)", len(after), len(before), err)
			}
			if left, err := os.ReadDir(away); err != nil || len(left) != 0 {
				t.Errorf("the held folder has %v left (%v)", left, err)
			}
		})
	}
}

// TestRemoveStaysInside fills the folder with all that may lead out of it.
func TestRemoveStaysInside(t *testing.T) {
	f, outside := private(t), t.TempDir()
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
	for i := range 1100 { // more than are removed in one go
		write(t, filepath.Join(f.Path(), fmt.Sprint(i)), "")
	}
	must(t, os.Chmod(f.Path(), 0))
	f.Remove()
	if _, err := os.Lstat(f.Path()); !os.IsNotExist(err) {
		t.Errorf("the folder is still there (%v)", err)
	}
	if text, err := os.ReadFile(kept); err != nil || string(text) != "x" {
		t.Errorf("a file outside: %q, %v", text, err)
	}
}
