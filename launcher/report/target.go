package report

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// resolve returns the path behind symbolic links, even if there is no file at it yet. It stops
// at this process's own descriptors, which look like links: the file behind a redirected
// /dev/stderr has to be written to and not replaced.
//
// A link at the end of the path is followed only if this user or root has made it, because the file
// behind it is replaced: in a folder such as /tmp, somebody else could make this user replace one
// of its own files. The kernel has a similar rule for opening files (proc(5), protected_symlinks).
func resolve(path string) (string, error) {
	for range 40 { // path_resolution(7)
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		link, err := os.Readlink(path)
		if _, own := ownDescriptor(path); own || err != nil {
			return path, nil
		}
		if err := checkLink(path, dir); err != nil {
			return "", err
		}
		if path = link; !filepath.IsAbs(link) {
			path = dir + "/" + link
		}
	}
	return "", unix.ELOOP
}

// ownDescriptor returns the descriptor of this process that a path without links stands for,
// if it stands for one.
func ownDescriptor(path string) (fd int, ok bool) {
	own, err := filepath.EvalSymlinks("/proc/self/fd")
	if err != nil || filepath.Dir(path) != own {
		return 0, false
	}
	fd, err = strconv.Atoi(filepath.Base(path))
	return fd, err == nil
}

// reopen returns a file for a descriptor of this process. Writing to it does not change the
// descriptor, which others may use: a pipe or a terminal is opened again, so that it can be made
// non-blocking. A regular file is duplicated and not opened again, because it must share the
// offset, or the report would overwrite what the file holds. What cannot be opened (a socket,
// the terminal of another user) is duplicated as well.
func reopen(fd int, path string, info fs.FileInfo) (*os.File, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil && flags&unix.O_ACCMODE == unix.O_RDONLY {
		err = unix.EBADF
	}
	if err != nil {
		return nil, err
	}
	if info != nil && !info.Mode().IsRegular() {
		if file, err := openSpecial(path, info.Mode(), 0); err == nil {
			return file, nil
		}
	}
	if fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openSpecial opens a file that is not a regular one, with further flags of open(2). It does not
// block, which makes a FIFO without a reader an error (fifo(7)).
func openSpecial(path string, mode fs.FileMode, flags int) (*os.File, error) {
	if mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0 {
		return nil, errors.New("it is a block device")
	}
	return os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY|flags, 0)
}
