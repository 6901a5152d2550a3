package early

import (
	"os"
	"strconv"
	"syscall"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
)

// Namespace says how a supervisor is to be started in a PID namespace of its own, whose first
// process it is: when that ends, the kernel kills all others in it (pid_namespaces(7)).
type Namespace struct {
	// Shared keeps the supervisor in the keeper's process group.
	Shared bool
}

// StartInside starts the supervisor once more, in a namespace. Without the privilege, it takes a user
// namespace as well (user_namespaces(7)). It must be called on the main thread, as Start.
func (s *Supervisor) StartInside(n Namespace) error {
	err := s.fork(Entering, n.attributes())
	if err != syscall.EPERM {
		return err
	}
	attr := n.attributes()
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	// The user keeps the own ids. Others cannot be mapped without a privilege.
	attr.UidMappings = []syscall.SysProcIDMap{
		{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{
		{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	const capSysAdmin = 21 // to mount /proc; an ambient one survives execve(2) (capabilities(7))
	attr.AmbientCaps = []uintptr{capSysAdmin}
	return s.fork(Entering, attr)
}

func (n Namespace) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: !n.Shared,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
}

// StartOutside starts the supervisor once more, without a namespace, because of the reason.
func (s *Supervisor) StartOutside(n Namespace, reason string) error {
	return s.fork(Outside+Place(reason), &syscall.SysProcAttr{Setpgid: !n.Shared})
}

// Enter mounts /proc for the new namespace, which shows the processes of the old one until then,
// and executes the supervisor again. If it cannot, it tells the keeper why and ends this process.
// Call it on the main thread, whose capabilities survive, before the process has read anything from
// /proc.
func Enter(c Command) {
	failed, err := enter(c)
	fd, _ := strconv.Atoi(c.Link)
	text := link.NoNamespace + " cannot " + failed + ": " + err.Error() + "\n" + link.Exit + " 125\n"
	_, _ = syscall.Write(fd, []byte(text)) // a keeper that is gone does not need to know
	os.Exit(125)
}

// enter returns what it could not do, and why.
func enter(c Command) (failed string, err error) {
	// The mount must not appear in other mount namespaces (mount_namespaces(7)).
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""); err != nil {
		return "make mounts private", err
	}
	err = syscall.Mount("proc", "/proc", "proc",
		syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, "")
	if err != nil {
		return "mount /proc anew", err
	}
	const prCapAmbient, clearAll = 47, 4 // workers must not inherit the capability (prctl(2))
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prCapAmbient, clearAll, 0, 0, 0, 0)
	if errno != 0 && errno != syscall.EINVAL { // EINVAL: before Linux 4.3
		return "give up a capability", errno
	}
	c.Place = Inside
	return "execute /proc/self/exe", syscall.Exec("/proc/self/exe", c.argv(), os.Environ())
}
