package capture

import (
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

// maxValueBytes bounds a file that is read from a machine.
const maxValueBytes = 1 << 20

// machine reads the files of a machine. Paths are relative to its root.
type machine struct{ root *rootfs.FS }

// read returns the content of a regular file. It returns false if the file cannot be read or is too
// large.
func (m machine) read(name string) (string, bool) {
	content, err := m.root.ReadRegular(name, maxValueBytes)
	return string(content), err == nil
}

// value returns the content of a file without the white space and NULs around it, or "" if the file
// cannot be read.
func (m machine) value(name string) string {
	text, _ := m.read(name)
	return strings.Trim(text, " \t\n\x00")
}

// names returns the names in a folder, sorted. It returns none if the folder cannot be read.
func (m machine) names(dir string) []string {
	entries, err := m.root.ReadDir(dir)
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
