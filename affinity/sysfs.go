package affinity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxValueBytes bounds one file. A list of 8192 CPUs, the kernel's most, with every other one missing has 20 KiB.
const maxValueBytes = 64 << 10

// sysfs reads small files below a root folder. It is not safe for concurrent use: the buffer is reused.
type sysfs struct {
	root string // "" is the live machine
	buf  []byte
}

func newSysfs(root string) *sysfs {
	if root == "/" {
		root = ""
	}
	return &sysfs{root: strings.TrimRight(root, "/"), buf: make([]byte, 4096)}
}

func (s *sysfs) live() bool { return s.root == "" }

// read returns the trimmed content of a file. It uses plain system calls because a big machine has hundreds of these
// files and os.File costs about three times as much, for a poller that no regular file can use.
func (s *sysfs) read(path string) (string, error) {
	path = s.root + path
	// O_NONBLOCK: a pipe in a hostile capture must not hold the open.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	n := 0
	for {
		got, err := unix.Read(fd, s.buf[n:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return "", &fs.PathError{Op: "read", Path: path, Err: err}
		case got == 0:
			return trimValue(string(s.buf[:n])), nil
		}
		if n += got; n >= maxValueBytes {
			return "", fmt.Errorf("%s is larger than %d bytes", path, maxValueBytes)
		}
		if n == len(s.buf) {
			s.buf = append(s.buf, make([]byte, len(s.buf))...)
		}
	}
}

// readInt returns the number in a file.
func (s *sysfs) readInt(path string) (int, error) {
	text, err := s.read(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %s is not a number", s.root+path, quoted(text))
	}
	return n, nil
}

// readSet returns the CPUs in the mask file or, where there is no good one, in the list file. The mask goes first
// because it does so in hwloc: a capture may hold a mask and a list that disagree.
func (s *sysfs) readSet(mask, list string) (CPUSet, error) {
	set, err := s.readParsed(mask, ParseCPUMask)
	if err == nil {
		return set, nil
	}
	set, listErr := s.readParsed(list, ParseCPUList)
	if listErr == nil {
		return set, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return CPUSet{}, listErr
	}
	return CPUSet{}, err
}

func (s *sysfs) readParsed(path string, parse func(string) (CPUSet, error)) (CPUSet, error) {
	text, err := s.read(path)
	if err != nil {
		return CPUSet{}, err
	}
	set, err := parse(text)
	if err != nil {
		return CPUSet{}, fmt.Errorf("%s: %w", s.root+path, err)
	}
	return set, nil
}

// numbered returns the numbers n of the entries of a folder that are named prefix+n.
func (s *sysfs) numbered(dir, prefix string) (CPUSet, error) {
	names, err := s.names(dir)
	if err != nil {
		return CPUSet{}, err
	}
	var words []uint64
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, prefix)
		if n, err := strconv.ParseUint(digits, 10, 32); ok && err == nil && n < maxCPUs {
			words = setBit(words, int(n))
		}
	}
	return trimmed(words), nil
}

func (s *sysfs) names(dir string) ([]string, error) {
	f, err := os.OpenFile(s.root+dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}
