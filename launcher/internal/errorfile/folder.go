//go:build linux

package errorfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// sizeLimit is the size of the largest file that is read, in bytes.
const sizeLimit = 1 << 20

// Folder is a private folder for error files. It stays open from the moment it is created, so a
// worker that replaces the folder changes nothing. Its methods may be called from any goroutine.
type Folder struct {
	path    string
	mu      sync.Mutex // a job that must end at once may remove the folder during a Read
	removed bool
	root    *os.Root // used to remove what is in the folder
	dir     *os.File // the same folder, used for system calls
}

// Make creates a folder in TMPDIR, or in /tmp if TMPDIR is not set. Only this user can enter it.
//
// The folder is locked as long as it is open: systemd-tmpfiles(8), which removes old files from
// there, leaves alone a folder with a shared flock(2) and all that is in it.
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
	// Some network file systems have no locks. The folder then is as safe as any other file there.
	_ = ignoringEINTR(func() error {
		return unix.Flock(int(dir.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	})
	return &Folder{path: path, root: root, dir: dir}, nil
}

// Path returns the path that the folder was created with.
func (f *Folder) Path() string { return f.path }

// Name returns the path of a worker's error file, for TORCHELASTIC_ERROR_FILE.
func (f *Folder) Name(attempt, rank int) string {
	return filepath.Join(f.path, base(attempt, rank))
}

// Intact reports whether the folder is still where workers look for it. If it is, Intact makes sure
// that they can write to it.
func (f *Folder) Intact() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.removed && f.isAtPath() && f.dir.Chmod(0o700) == nil
}

// isAtPath reports whether the path still leads to the folder.
func (f *Folder) isAtPath() bool {
	held, err := f.dir.Stat()
	named, err2 := os.Lstat(f.path)
	return err == nil && err2 == nil && os.SameFile(held, named)
}

// Touch sets the times of the folder to now, for programs that remove old files and know no locks,
// such as tmpreaper(8).
func (f *Folder) Touch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.removed {
		now := time.Now()
		_ = f.root.Chtimes(".", now, now) // a folder that is gone needs no times
	}
}

func base(attempt, rank int) string { return fmt.Sprintf("error-%d-%d.json", attempt, rank) }

// Read reads a worker's error file. Call it after the worker has ended. If there is no file, or
// if it is empty, Read returns nil without an error. Errors complete the sentence "rank 1's error
// file cannot be used: …".
func (f *Folder) Read(attempt, rank int) (*Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.removed {
		return nil, errors.New("its folder has been removed")
	}
	data, err := f.content(base(attempt, rank))
	if err != nil || len(data) == 0 {
		return nil, err
	}
	return Parse(data)
}

// Forget removes a worker's error file, so that a job with many restarts does not fill TMPDIR,
// which is often memory.
func (f *Folder) Forget(attempt, rank int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.removed {
		_ = f.root.RemoveAll(base(attempt, rank)) // what cannot be removed goes with the folder
	}
}

// content reads a file in the folder and never blocks. Opening a FIFO waits for a writer
// (fifo(7)), and opening a device can have any effect, so content checks what kind of file it is
// before opening it, and checks again afterwards.
func (f *Folder) content(name string) ([]byte, error) {
	var before, st unix.Stat_t
	err := ignoringEINTR(func() error {
		return unix.Fstatat(int(f.dir.Fd()), name, &before, unix.AT_SYMLINK_NOFOLLOW)
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err == nil {
		err = checkReadable(&before)
	}
	if err != nil {
		return nil, err
	}
	fd, err := f.open(name)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Dev != before.Dev || st.Ino != before.Ino {
		return nil, errors.New("it was replaced while it was being read")
	}
	if err := checkReadable(&st); err != nil {
		return nil, err
	}
	return readAll(file, st.Size)
}

// open opens a file in the folder. With O_NONBLOCK, opening does not wait for another process
// that holds a lease on the file (fcntl(2), F_SETLEASE).
func (f *Folder) open(name string) (fd int, err error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY
	err = ignoringEINTR(func() (err error) {
		fd, err = unix.Openat(int(f.dir.Fd()), name, flags, 0)
		return err
	})
	return fd, err
}

// checkReadable returns an error unless st describes a regular file of acceptable size that has
// no other name. A file with another name could be any file of this user.
func checkReadable(st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFLNK:
		return errors.New("it is a symbolic link")
	case unix.S_IFIFO:
		return errors.New("it is a named pipe")
	case unix.S_IFSOCK:
		return errors.New("it is a socket")
	case unix.S_IFDIR:
		return errors.New("it is a folder")
	default:
		return errors.New("it is a device")
	}
	if st.Nlink > 1 {
		return fmt.Errorf("it has %d hard links", st.Nlink)
	}
	if st.Size > sizeLimit {
		return fmt.Errorf("it is %d bytes long, more than 1 MiB", st.Size)
	}
	return nil
}

// readAll reads a file of the given size. It fails if the file has grown, which means that some
// process is still writing to it.
func readAll(file *os.File, size int64) ([]byte, error) {
	data := make([]byte, size+1)
	n, err := io.ReadFull(file, data)
	switch {
	case err == nil:
		return nil, errors.New("it is still being written")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return data[:n], nil
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		err = errno // the path would only make the message longer
	}
	return nil, err
}

// ignoringEINTR repeats a system call while signals interrupt it. Package process has the same
// helper, but Go workers link errorfile and should not link the launcher's packages.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// Remove deletes the folder with everything in it, and closes it. It deletes nothing outside the
// folder: it removes links without following them. If a worker has moved the folder and put
// something else in its place, Remove empties the folder but leaves both where they are.
func (f *Folder) Remove() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removed = true
	_ = f.dir.Chmod(0o700) // a worker may have removed our permissions
	f.empty()
	if f.isAtPath() {
		_ = unix.Rmdir(f.path)
	}
	f.dir.Close()
	f.root.Close()
}

// empty deletes everything in the folder, a thousand entries at a time, because a worker decides
// how many there are. It gives up after a million entries, in case a process keeps adding more.
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
