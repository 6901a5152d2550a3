package report

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long the reader of a pipe may keep the launcher waiting; tests
// have less of it.
var patience = 10 * time.Second

// File is where a report will be written.
type File struct {
	path   string   // as the user named it
	target string   // what is replaced, "" for what is written to directly
	direct *os.File // a pipe, a terminal, a descriptor of our own
}

// Create finds out, before there is anything to write, whether a report can be
// written to path. Nothing is left there until Write. A regular file will be
// replaced in one step by one of mode 0600; if path is a symbolic link, the file
// that it leads to. A FIFO, a terminal, another device or a descriptor
// (/dev/stderr, /dev/fd/63) is opened and written to.
func Create(path string) (*File, error) {
	f := &File{path: path}
	target, err := follow(path)
	if err == nil {
		info, missing := os.Stat(target)
		fd, ours := descriptor(target)
		switch {
		case ours:
			f.direct, err = reopen(fd, target, info)
		case missing == nil && !info.Mode().IsRegular():
			f.direct, err = openSpecial(target, info.Mode())
		default:
			f.target = target
			err = f.probe(missing == nil)
		}
	}
	if err != nil {
		return nil, f.failure(err)
	}
	return f, nil
}

// Write writes the report as JSON, once.
func (f *File) Write(r Report) error {
	data, err := encode(r)
	if err == nil {
		if f.direct != nil {
			defer f.Discard()
			// Fails on what cannot make us wait forever, such as a file.
			_ = f.direct.SetWriteDeadline(time.Now().Add(patience))
			_, err = f.direct.Write(data)
		} else {
			err = f.replace(data)
		}
	}
	if err != nil {
		return f.failure(err)
	}
	return nil
}

// Discard gives the file up: it stays as it was.
func (f *File) Discard() {
	if f.direct != nil {
		f.direct.Close()
	}
}

// failure names the path and what to do.
func (f *File) failure(err error) error {
	hint := "name a file in a folder that you may write to"
	var inner *fs.PathError
	var link *os.LinkError
	switch {
	case errors.Is(err, unix.ENXIO):
		hint = "nobody reads it: start its reader first, or name a file"
	case errors.Is(err, unix.EPIPE):
		hint = "its reader is gone"
	case errors.Is(err, os.ErrDeadlineExceeded):
		hint = fmt.Sprintf("its reader has not read it within %s", patience)
	case errors.Is(err, unix.EBADF):
		hint = "that descriptor is not open for writing: name a file"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		hint = "make room, or name a file on another disk"
	}
	if errors.As(err, &inner) {
		err = inner.Err
	} else if errors.As(err, &link) {
		err = link.Err
	}
	return fmt.Errorf("the report cannot be written to %q (%w): %s", f.path, err, hint)
}

// probe finds out whether replace can work.
func (f *File) probe(exists bool) error {
	if exists {
		// A file that is write-protected is not replaced behind its owner's back.
		if err := unix.Faccessat(unix.AT_FDCWD, f.target, unix.W_OK, unix.AT_EACCESS); err != nil {
			return err
		}
	}
	temp, err := f.temporary()
	if err != nil {
		return err
	}
	temp.Close()
	return os.Remove(temp.Name())
}

// temporary makes a file of mode 0600 beside the target.
func (f *File) temporary() (*os.File, error) {
	return os.CreateTemp(filepath.Dir(f.target), ".gpulaunch-report-*")
}

// replace writes the target in one step: whoever reads it sees all of the report
// or none of it, also after a crash.
func (f *File) replace(data []byte) error {
	temp, err := f.temporary()
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), f.target)
	}
	if err == nil {
		return nil
	}
	os.Remove(temp.Name())
	if errors.Is(err, unix.EBUSY) {
		// The file is a mount of its own, as the termination log of a container.
		return os.WriteFile(f.target, data, 0o600)
	}
	return err
}
