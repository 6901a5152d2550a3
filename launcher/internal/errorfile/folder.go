//go:build linux

package errorfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// sizeLimit is the most that is read of one file, in bytes.
const sizeLimit = 1 << 20

// Folder is the private folder, held open since it was made so that a worker that
// replaces it changes nothing.
type Folder struct {
	path string
	mu   sync.Mutex // a job that is left in a hurry removes it while it may be read
	gone bool
	root *os.Root // for removing
	dir  *os.File // the same folder, for system calls
}

// Make makes a folder under TMPDIR (/tmp) that only this user can enter.
func Make() (*Folder, error) {
	path, err := os.MkdirTemp("", "gpulaunch-") // mode 0700
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		_ = os.Remove(path)
		return nil, err
	}
	dir, err := root.Open(".")
	if err != nil {
		root.Close()
		_ = os.Remove(path)
		return nil, err
	}
	return &Folder{path: path, root: root, dir: dir}, nil
}

// Path is where the folder was made.
func (f *Folder) Path() string { return f.path }

// Name is what a worker gets as TORCHELASTIC_ERROR_FILE.
func (f *Folder) Name(attempt, rank int) string {
	return filepath.Join(f.path, base(attempt, rank))
}

func base(attempt, rank int) string { return fmt.Sprintf("error-%d-%d.json", attempt, rank) }

// Read reads what a worker has left, once it has ended. It is nil, without an error,
// if that is nothing: no file, or an empty one. Errors are short phrases that go after
// "rank 1's error file cannot be used: ".
func (f *Folder) Read(attempt, rank int) (*Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
		return nil, unix.EBADF
	}
	data, err := f.content(base(attempt, rank))
	if err != nil || len(data) == 0 {
		return nil, err
	}
	return Parse(data)
}

// content reads a file of the folder without waiting for anybody: opening a FIFO waits
// for a writer (fifo(7)), and opening a device may do anything, so the kind is looked
// at first, and again once the file is open.
func (f *Folder) content(name string) ([]byte, error) {
	var before, st unix.Stat_t
	err := retry(func() error {
		return unix.Fstatat(int(f.dir.Fd()), name, &before, unix.AT_SYMLINK_NOFOLLOW)
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err == nil {
		err = usable(&before)
	}
	if err != nil {
		return nil, err
	}
	var fd int
	// O_NONBLOCK also keeps a lease on the file from holding us up (fcntl(2)).
	if err := retry(func() (err error) {
		fd, err = unix.Openat(int(f.dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
		return err
	}); err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Dev != before.Dev || st.Ino != before.Ino {
		return nil, errors.New("replaced while it was read")
	}
	if err := usable(&st); err != nil {
		return nil, err
	}
	return readAll(file, st.Size)
}

// usable says what speaks against reading a file. One with a further name may be any
// file of this user.
func usable(st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFLNK:
		return errors.New("a symbolic link")
	case unix.S_IFIFO:
		return errors.New("a named pipe")
	case unix.S_IFSOCK:
		return errors.New("a socket")
	case unix.S_IFDIR:
		return errors.New("a folder")
	default:
		return errors.New("a device")
	}
	if st.Nlink > 1 {
		return fmt.Errorf("a file with %d hard links", st.Nlink)
	}
	if st.Size > sizeLimit {
		return fmt.Errorf("%d bytes, more than 1 MiB", st.Size)
	}
	return nil
}

// readAll reads a file of a known size; a writer that is still there does not make it
// read more.
func readAll(file *os.File, size int64) ([]byte, error) {
	data := make([]byte, size+1)
	n, err := io.ReadFull(file, data)
	switch {
	case err == nil:
		return nil, errors.New("still being written")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return data[:n], nil
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		err = errno // without the path
	}
	return nil, err
}

// retry makes a system call that signals may interrupt.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// Remove removes the folder with what is in it and closes it. It never leaves the
// folder: links are removed, not followed, and what a worker has put in the folder's
// place stays. Of a folder that a worker has moved away the empty shell stays.
func (f *Folder) Remove() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = true
	_ = f.dir.Chmod(0o700) // a worker may have taken our rights away
	f.empty()
	held, err := f.dir.Stat()
	if named, err2 := os.Lstat(f.path); err == nil && err2 == nil && os.SameFile(held, named) {
		_ = unix.Rmdir(f.path)
	}
	f.dir.Close()
	f.root.Close()
}

// empty removes what is in the folder, a thousand entries at a time: a worker chooses
// how many there are. A folder that still gets new ones after a million is left alone.
func (f *Folder) empty() {
	for range 1000 {
		if _, err := f.dir.Seek(0, io.SeekStart); err != nil {
			return
		}
		names, _ := f.dir.Readdirnames(1000)
		removed := false
		for _, name := range names {
			removed = f.root.RemoveAll(name) == nil || removed
		}
		if !removed {
			return
		}
	}
}
