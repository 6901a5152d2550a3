package report

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// errOtherUser is the reason for refusing what another user has put in the way.
var errOtherUser = errors.New("it belongs to another user")

// unmappedUser is the owner that the kernel shows for users that a user namespace does not have,
// among them the machine's root (user_namespaces(7), /proc/sys/kernel/overflowuid).
const unmappedUser = 65534

// owner returns the owner of a file. It does not follow a symbolic link.
func owner(path string) (uid int, mode fs.FileMode, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, 0, err
	}
	return int(info.Sys().(*syscall.Stat_t).Uid), info.Mode(), nil
}

// trusted reports whether what a user owns may decide where a report goes.
func trusted(uid int) bool { return uid == os.Geteuid() || uid == 0 }

// checkLink returns an error unless the symbolic link at path, in the folder dir, may be followed.
func checkLink(path, dir string) error {
	uid, _, err := owner(path)
	if err != nil || trusted(uid) {
		return err
	}
	// In a user namespace, /dev and the links in it belong to nobody it knows.
	dirUID, mode, err := owner(dir)
	if err == nil && uid == unmappedUser && dirUID == unmappedUser && mode.Perm()&0o022 == 0 {
		return nil
	}
	return cmp.Or(err, errOtherUser)
}

// checkFIFO returns an error for a FIFO of another user in a folder that everybody can write to:
// its reader would get the report (proc(5), protected_fifos).
func checkFIFO(path string, info fs.FileInfo) error {
	uid, _, err := owner(path)
	if err != nil || info.Mode()&fs.ModeNamedPipe == 0 || trusted(uid) {
		return err
	}
	_, mode, err := owner(filepath.Dir(path))
	if err == nil && mode.Perm()&0o002 == 0 {
		return nil
	}
	return cmp.Or(err, errOtherUser)
}

// checkSticky returns an error if the folder's sticky bit keeps this user from replacing the file
// at path: only the owners of the file and of the folder may (rename(2), EPERM).
func checkSticky(path string) error {
	uid, _, err := owner(path)
	if err != nil || os.Geteuid() == 0 || uid == os.Geteuid() {
		return err
	}
	dirUID, mode, err := owner(filepath.Dir(path))
	if err == nil && mode&fs.ModeSticky != 0 && dirUID != os.Geteuid() {
		return errOtherUser
	}
	return err
}

// isMountPoint reports whether a file is known to be a mount point (statx(2), since Linux 5.8).
func isMountPoint(path string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &st)
	return err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}
