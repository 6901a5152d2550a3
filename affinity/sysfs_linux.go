package affinity

import (
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// fastReader reads with plain system calls. A big machine has hundreds of these files, and os.File
// costs about three times as much, for a poller that regular files cannot use.
type fastReader struct {
	root string
	buf  []byte // reused
}

func newReader(root string) (reader, error) {
	return &fastReader{root: root, buf: make([]byte, 4096)}, nil
}

func (r *fastReader) read(path string) (string, error) {
	path = r.root + path
	// O_NONBLOCK keeps the open from waiting for the other end of a pipe (open(2)), which a hostile
	// capture may have in the place of a file.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	n := 0
	for {
		got, err := unix.Read(fd, r.buf[n:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return "", &fs.PathError{Op: "read", Path: path, Err: err}
		case got == 0:
			return trimValue(string(r.buf[:n])), nil
		}
		if n += got; n >= maxValueBytes {
			return "", fmt.Errorf("%s is larger than %d bytes", path, maxValueBytes)
		}
		if n == len(r.buf) {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
	}
}

func (r *fastReader) names(dir string) ([]string, error) {
	f, err := os.OpenFile(r.root+dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (r *fastReader) readlink(path string) (string, error) { return os.Readlink(r.root + path) }

func (r *fastReader) stat(path string) error {
	_, err := os.Stat(r.root + path)
	return err
}

func (r *fastReader) close() {}
