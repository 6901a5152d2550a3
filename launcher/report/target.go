package report

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// follow gives the path behind symbolic links, also if nothing is there yet. It
// stops at our own descriptors: they look like links, and the file behind a
// redirected /dev/stderr is one to write to, not one to replace.
func follow(path string) (string, error) {
	for range 40 { // path_resolution(7)
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		link, err := os.Readlink(path)
		if _, ours := descriptor(path); ours || err != nil {
			return path, nil
		}
		if path = link; !filepath.IsAbs(link) {
			path = dir + "/" + link
		}
	}
	return "", unix.ELOOP
}

// descriptor says which of our own descriptors a path without links stands for.
func descriptor(path string) (fd int, ours bool) {
	own, err := filepath.EvalSymlinks("/proc/self/fd")
	if err != nil || filepath.Dir(path) != own {
		return 0, false
	}
	fd, err = strconv.Atoi(filepath.Base(path))
	return fd, err == nil
}

// reopen gives a descriptor that can be written to without changing the one that
// others use. A pipe or a terminal is opened anew, so that it need not block. A file
// shares its offset, or the report would overwrite what the file holds; a socket,
// and the terminal of another user, cannot be opened.
func reopen(fd int, path string, info fs.FileInfo) (*os.File, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil && flags&unix.O_ACCMODE == unix.O_RDONLY {
		err = unix.EBADF
	}
	if err != nil {
		return nil, err
	}
	if info != nil && !info.Mode().IsRegular() {
		if file, err := openSpecial(path, info.Mode()); err == nil {
			return file, nil
		}
	}
	if fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openSpecial opens what is not a regular file. Not to block makes a FIFO without
// a reader an error, fifo(7).
func openSpecial(path string, mode fs.FileMode) (*os.File, error) {
	if mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0 {
		return nil, errors.New("it is a block device")
	}
	return os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
}
