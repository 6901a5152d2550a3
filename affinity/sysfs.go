package affinity

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// maxValueBytes bounds one file. A list of 8192 CPUs, the most that Linux supports, has 20 KiB when
// every other CPU is missing.
const maxValueBytes = 64 << 10

// sysfs reads the small files of a machine below a root folder. Paths are those of the machine:
// absolute and with slashes. It is not safe for concurrent use.
type sysfs struct {
	reader
	root string // "" is the live machine
}

// reader is how a system reads the files. fastReader is for Linux, portableReader for the others.
type reader interface {
	// read returns the content of a file without the white space and NULs around it.
	read(path string) (string, error)
	// names returns the names in a folder, in any order.
	names(dir string) ([]string, error)
	// readlink returns the text of a symbolic link.
	readlink(path string) (string, error)
	// stat returns an error that wraps fs.ErrNotExist when nothing has the path.
	stat(path string) error
	close()
}

// openSysfs returns the files below root, where "/" is the live machine like "".
func openSysfs(root string) (*sysfs, error) {
	root = strings.TrimRight(root, "/")
	r, err := newReader(root)
	if err != nil {
		return nil, err
	}
	return &sysfs{r, root}, nil
}

func (s *sysfs) live() bool { return s.root == "" }

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

// readSet returns the CPUs in the mask file or, if that cannot be read or parsed, in the list file.
// The mask comes first because hwloc prefers it: in a capture, the two may disagree.
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

// numbered returns every n for which the folder has an entry named prefix+n.
func (s *sysfs) numbered(dir, prefix string) (CPUSet, error) {
	names, err := s.names(dir)
	if err != nil {
		return CPUSet{}, err
	}
	var words []uint64
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, prefix)
		n, err := strconv.ParseUint(digits, 10, 32)
		if ok && err == nil && n < maxCPUs {
			words = setBit(words, int(n))
		}
	}
	return trimmed(words), nil
}
