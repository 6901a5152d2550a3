package capture

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

// checkLinks returns an error if a symbolic link leads out of the folder, directly or through other
// links. Links may lead to nothing, because a capture leaves a lot out.
func checkLinks(root *rootfs.FS, entries int) error {
	seen := 0
	return fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("its folder %s cannot be read (%w); make it readable",
				quoted(name), cmp.Or(systemError(err), err))
		}
		if seen++; seen > entries {
			return limitError{fmt.Sprintf("%d entries", entries)}
		}
		if entry.Type() != fs.ModeSymlink {
			return nil
		}
		if _, err := root.Stat(name); !staysInside(err) {
			target, _ := root.ReadLink(name)
			return fmt.Errorf("it has the link %s to %s, which leads out of it; remove the link",
				quoted(name), quoted(target))
		}
		return nil
	})
}

// staysInside reports whether a link stays inside its root, given the error from following it. A
// link that leads to nothing or in circles does. Package os does not export the error for a link
// that leads out, so every other error counts as that.
func staysInside(err error) bool {
	return err == nil || errors.Is(err, fs.ErrNotExist) ||
		errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR)
}
