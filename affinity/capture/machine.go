package capture

import (
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// maxValueBytes bounds one file that is read, as package affinity does.
const maxValueBytes = 1 << 20

// machine reads the files of one, by relative path. An os.Root keeps links in a folder from somebody else inside it.
type machine struct{ root *os.Root }

// read returns the content of a regular file, false when it cannot be read or is too large to be what it should be.
func (m machine) read(name string) (string, bool) {
	// O_NONBLOCK: a pipe in a hostile folder must not hold the open.
	f, err := m.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", false
	}
	content, err := io.ReadAll(io.LimitReader(f, maxValueBytes+1))
	return string(content), err == nil && len(content) <= maxValueBytes
}

// value returns the content of a file without the white space and NULs around it, "" when it cannot be read.
func (m machine) value(name string) string {
	text, _ := m.read(name)
	return strings.Trim(text, " \t\n\x00")
}

// names returns the names in a folder, sorted, none when it cannot be read.
func (m machine) names(dir string) []string {
	entries, err := fs.ReadDir(m.root.FS(), dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func (m machine) isFolder(name string) bool {
	info, err := m.root.Stat(name)
	return err == nil && info.IsDir()
}
