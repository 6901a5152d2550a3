package report

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// readerTimeout is how long a report may wait for the reader of a pipe. Tests shorten it.
var readerTimeout = 10 * time.Second

// File is a place to which a report can be written.
type File struct {
	path   string   // as the user gave it
	target string   // the file to replace, or "" if direct is written to
	direct *os.File // a pipe, a terminal, or a descriptor of this process
}

// Create returns the file at path, or an error if no report could be written to it. Call it before
// the job starts. It leaves path as it is until [File.Write], but writes some bytes beside it and
// removes them again, to find out whether there is room.
//
// A regular file is then replaced in one step by a new one of mode 0600. If path is a symbolic
// link, the file that it leads to is replaced; a link of another user other than root is refused. A
// FIFO, a terminal, another device, or a descriptor (/dev/stderr, /dev/fd/63) is opened at once and
// written to.
func Create(path string) (*File, error) {
	f := &File{path: path}
	target, err := resolve(path)
	if err == nil {
		info, missing := os.Stat(target)
		fd, own := ownDescriptor(target)
		switch {
		case own:
			f.direct, err = reopen(fd, target, info)
		case missing == nil && !info.Mode().IsRegular():
			if err = checkFIFO(target, info); err == nil {
				f.direct, err = openSpecial(target, info.Mode(), unix.O_NOFOLLOW)
			}
		case missing == nil && isMountPoint(target):
			f.target = target
			err = f.overwrite(nil, probeSize)
		default:
			f.target = target
			err = f.checkReplace(missing == nil)
		}
	}
	if err != nil {
		return nil, f.wrapError(err)
	}
	return f, nil
}

// Write writes the report as JSON. It can be called once.
func (f *File) Write(r Report) error {
	data, err := encode(r)
	if err == nil {
		if f.direct != nil {
			defer f.Discard()
			// An error means that a write cannot block, as to a regular file.
			_ = f.direct.SetWriteDeadline(time.Now().Add(readerTimeout))
			_, err = f.direct.Write(data)
		} else {
			err = f.replace(data)
		}
	}
	if err != nil {
		return f.wrapError(err)
	}
	return nil
}

// Discard closes the file without writing a report. It stays as it was.
func (f *File) Discard() {
	if f.direct != nil {
		f.direct.Close()
	}
}

// wrapError adds the path and what to do about the error.
func (f *File) wrapError(err error) error {
	hint := "name a file in a folder that you may write to"
	var inner *fs.PathError
	var link *os.LinkError
	switch {
	case errors.Is(err, unix.ENXIO):
		hint = "no process reads it: start its reader first, or name a file"
	case errors.Is(err, unix.EPIPE):
		hint = "its reader is gone"
	case errors.Is(err, os.ErrDeadlineExceeded):
		hint = fmt.Sprintf("its reader has not read it within %s", readerTimeout)
	case errors.Is(err, unix.EBADF):
		hint = "that descriptor is not open for writing: name a file"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		hint = "make room, or name a file on another disk"
	case errors.Is(err, errOtherUser):
		hint = "name a file of your own"
	}
	if errors.As(err, &inner) {
		err = inner.Err
	} else if errors.As(err, &link) {
		err = link.Err
	}
	return fmt.Errorf("cannot write the report to %q (%w): %s", f.path, err, hint)
}

// probeSize is how many bytes there has to be room for before the job starts: about as many as the
// report of some 20 workers has.
const probeSize = 64 << 10

// checkReplace returns an error if replace would fail.
func (f *File) checkReplace(exists bool) error {
	if exists {
		// Renaming would replace even a file that its owner has protected against writing.
		if err := unix.Faccessat(unix.AT_FDCWD, f.target, unix.W_OK, unix.AT_EACCESS); err != nil {
			return err
		}
		if err := checkSticky(f.target); err != nil {
			return err
		}
	}
	temp, err := f.createTemp()
	if err != nil {
		return err
	}
	// The bytes are random, because some file systems store no zeros.
	data := make([]byte, probeSize)
	_, _ = rand.Read(data) // it never fails
	_, err = temp.Write(data)
	// Some file systems find out only now that a quota is exceeded (close(2)).
	err = cmp.Or(err, temp.Close())
	return cmp.Or(err, os.Remove(temp.Name()))
}

// createTemp creates a file of mode 0600 beside the target.
func (f *File) createTemp() (*os.File, error) {
	return os.CreateTemp(filepath.Dir(f.target), ".gpulaunch-report-*")
}

// replace writes the target in one step, so that a reader sees all of the report or none of it,
// even after a crash. If it fails, the target stays as it was.
func (f *File) replace(data []byte) error {
	if isMountPoint(f.target) {
		return f.overwrite(data, len(data))
	}
	temp, err := f.createTemp()
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	err = cmp.Or(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), f.target)
	}
	if err == nil {
		return nil
	}
	os.Remove(temp.Name())
	if errors.Is(err, unix.EBUSY) { // a mount point, if the kernel does not tell isMountPoint
		return f.overwrite(data, len(data))
	}
	return err
}

// overwrite writes data into the target, which cannot be replaced because it is a mount point, such
// as the termination log of a container. It first reserves room for size bytes, so that a full disk
// leaves the target as it was. With nil it only does that.
func (f *File) overwrite(data []byte, size int) error {
	file, err := os.OpenFile(f.target, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(file.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, int64(size))
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		err = nil // this file system cannot reserve room
	}
	if err == nil && data != nil {
		_, err = file.WriteAt(data, 0)
		if err == nil {
			err = cmp.Or(file.Truncate(int64(len(data))), file.Sync())
		}
	}
	return cmp.Or(err, file.Close())
}
