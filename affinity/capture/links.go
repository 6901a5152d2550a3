package capture

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

// checkLinks refuses a folder in which a symbolic link leads out of it, straight or through others. Links to nothing
// are fine, as a capture leaves much out.
func checkLinks(root *rootfs.FS, entries int) error {
	seen := 0
	return fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("its folder %s cannot be read (%w); make it readable", quoted(name), cmp.Or(cause(err), err))
		}
		if seen++; seen > entries {
			return tooMuch{fmt.Sprintf("%d entries", entries)}
		}
		if entry.Type() != fs.ModeSymlink {
			return nil
		}
		if _, err := root.Stat(name); !harmless(err) {
			target, _ := root.ReadLink(name)
			return fmt.Errorf("it has the link %s to %s, which leads out of it; remove the link", quoted(name), quoted(target))
		}
		return nil
	})
}

// harmless reports whether a link that cannot be followed within its root cannot be followed at all. os.Root's error
// for a path that leads out has no name, so everything that is not known to be harmless is taken for it.
func harmless(err error) bool {
	return err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR)
}
