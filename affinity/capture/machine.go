package capture

import (
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

// maxValueBytes bounds one file that is read, as package affinity does.
const maxValueBytes = 1 << 20

// machine reads the files of one, by relative path.
type machine struct{ root *rootfs.FS }

// read returns the content of a regular file, false when it cannot be read or is too large to be what it should be.
func (m machine) read(name string) (string, bool) {
	content, err := m.root.ReadRegular(name, maxValueBytes)
	return string(content), err == nil
}

// value returns the content of a file without the white space and NULs around it, "" when it cannot be read.
func (m machine) value(name string) string {
	text, _ := m.read(name)
	return strings.Trim(text, " \t\n\x00")
}

// names returns the names in a folder, sorted, none when it cannot be read.
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
