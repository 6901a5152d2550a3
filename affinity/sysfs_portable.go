package affinity

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

// portableReader reads a captured machine on systems other than Linux. On Linux only tests use it,
// to see that it reads what fastReader does.
type portableReader struct {
	root  string
	files *rootfs.FS
}

func newPortableReader(root string, layout rootfs.Layout) (*portableReader, error) {
	files, err := rootfs.Open(root, layout)
	if err != nil {
		return nil, err
	}
	return &portableReader{root, files}, nil
}

func (r *portableReader) read(path string) (string, error) {
	content, err := r.files.ReadRegular(relative(path), maxValueBytes-1)
	return trimValue(string(content)), r.withRoot(path, err)
}

func (r *portableReader) names(dir string) ([]string, error) {
	entries, err := r.files.ReadDir(relative(dir))
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names, r.withRoot(dir, err)
}

func (r *portableReader) readlink(path string) (string, error) {
	target, err := r.files.ReadLink(relative(path))
	return target, r.withRoot(path, err)
}

func (r *portableReader) stat(path string) error {
	_, err := r.files.Stat(relative(path))
	return r.withRoot(path, err)
}

func (r *portableReader) close() { r.files.Close() }

// relative returns a machine's path as package rootfs takes it.
func relative(path string) string { return strings.Trim(path, "/") }

// withRoot returns an error with the whole path, as an error of the live machine has it.
func (r *portableReader) withRoot(path string, err error) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: file.Op, Path: r.root + path, Err: file.Err}
	}
	return err
}
