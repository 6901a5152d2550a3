//go:build linux

package doctor

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/probe"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
)

// readTimeout limits what may hang: reading a file of a hung driver, running a shell.
const readTimeout = 5 * time.Second

// Gather reads the facts. It opens no device, since that would initialize a GPU or hang with it.
func Gather(g Given) Facts {
	f := Facts{
		Given: g, DriverPresent: probe.DriverPresent(g.Root), WSL: exists(g.Root + "/dev/dxg"),
		Localities: map[int]affinity.Locality{},
	}
	f.OnBus, f.OnBusErr = onBus(g.Root)
	f.Module, f.ModuleErr = readModule(g.Root)
	f.Files = findFiles(f)
	f.Topology, f.TopologyErr = affinity.ReadTopology(g.Root)
	for _, d := range g.Inventory.Devices {
		f.Localities[d.Index] = localityOf(g.Root, d)
	}
	f.Quota, _, f.QuotaErr = affinity.ReadQuota(g.Root)
	f.NICs, f.NICsErr = affinity.ReadNICs(g.Root)
	f.Cgroup = machine.FindCgroup()
	f.Abandoned = machine.FindAbandoned(f.Cgroup)
	var name unix.Utsname
	f.KernelErr = unix.Uname(&name)
	f.Kernel = unix.ByteSliceToString(name.Release[:])
	f.PidfdErr = tryPidfd()
	f.Temporary = tryTemporary(f.variable("TMPDIR"))
	f.LockedMemory, f.Processes = readLimit(unix.RLIMIT_MEMLOCK), readLimit(unix.RLIMIT_NPROC)
	f.OpenFiles = readOpenFiles()
	f.SharedMemory = readFilesystem(g.Root + "/dev/shm")
	return f
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// onBus returns the addresses of NVIDIA's (0x10de) display controllers: classes 0x0300 (VGA) and
// 0x0302 (3D), as in pci.ids.
func onBus(root string) ([]string, error) {
	dir := root + "/sys/bus/pci/devices"
	entries, err := os.ReadDir(dir)
	if isMissing(err) {
		return nil, nil // a machine without PCI
	}
	var found []string
	for _, e := range entries {
		vendor, err := os.ReadFile(filepath.Join(dir, e.Name(), "vendor"))
		if err != nil || strings.TrimSpace(string(vendor)) != "0x10de" {
			continue
		}
		class, err := os.ReadFile(filepath.Join(dir, e.Name(), "class"))
		if err == nil && strings.HasPrefix(string(class), "0x03") {
			found = append(found, e.Name())
		}
	}
	return found, err
}

// readModule returns the version of the loaded kernel module.
func readModule(root string) (string, error) {
	type answer struct {
		text string
		err  error
	}
	file := root + "/proc/driver/nvidia/version"
	read := make(chan answer, 1)
	go func() { // it never ends if the driver never releases its locks
		text, err := readStart(file)
		read <- answer{text, err}
	}()
	select {
	case a := <-read:
		if a.err != nil {
			return "", a.err
		}
		version, err := parseModule(a.text)
		if err != nil {
			err = fmt.Errorf("%s: %w", file, err)
		}
		return version, err
	case <-time.After(readTimeout):
		return "", fmt.Errorf("%s did not answer within %v", file, readTimeout)
	}
}

// readStart returns the first 64 KiB of a file.
func readStart(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	return string(text), err
}

// findFiles returns the files that CUDA opens: /dev/nvidiactl, /dev/nvidia-uvm and one for each
// GPU, or under WSL a single one.
func findFiles(f Facts) []DeviceFile {
	paths := []string{"/dev/nvidiactl", "/dev/nvidia-uvm"}
	for _, d := range f.Inventory.Devices {
		if d.Minor != nil && f.admitted(d) {
			paths = append(paths, fmt.Sprintf("/dev/nvidia%d", *d.Minor))
		}
	}
	if f.WSL {
		paths = []string{"/dev/dxg"}
	}
	var list []DeviceFile
	for _, path := range paths {
		file := DeviceFile{Path: path, Access: unix.Access(f.Root+path, unix.R_OK|unix.W_OK)}
		if info, err := os.Stat(f.Root + path); err == nil {
			file.Mode, file.Group = info.Mode(), groupOf(info)
		}
		list = append(list, file)
	}
	return list
}

// groupOf returns the name or the number of the group that a file belongs to.
func groupOf(info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	number := fmt.Sprint(stat.Gid)
	if g, err := user.LookupGroupId(number); err == nil {
		return g.Name
	}
	return number
}

// localityOf returns where a GPU is according to sysfs and to NVML. What cannot be read is unknown.
func localityOf(root string, d gpu.Device) affinity.Locality {
	loc, err := affinity.ReadLocality(root, d.PCIBusID)
	if err != nil {
		loc.NUMANode = -1
	}
	if reported, err := affinity.ParseCPUList(d.CPUAffinity); err == nil {
		loc.Reported = reported
	}
	return loc
}

// tryPidfd makes the system calls for this process that gpulaunch makes for workers, with signal 0.
func tryPidfd() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	return os.NewSyscallError("pidfd_send_signal", unix.PidfdSendSignal(fd, 0, nil, 0))
}

// tryTemporary creates a folder in TMPDIR as a job would, and removes it.
func tryTemporary(folder string) Temporary {
	if folder == "" {
		folder = "/tmp"
	}
	t := Temporary{Folder: folder}
	created, err := os.MkdirTemp(folder, "gpulaunch-")
	if err != nil {
		t.Err = err
		return t
	}
	t.Err = os.Remove(created)
	t.Disk = readFilesystem(folder)
	return t
}

func readFilesystem(path string) Filesystem {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return Filesystem{Err: &fs.PathError{Op: "statfs", Path: path, Err: err}}
	}
	unit := uint64(s.Bsize)
	return Filesystem{
		Memory: s.Type == unix.TMPFS_MAGIC, SizeBytes: s.Blocks * unit, Unused: s.Bavail * unit,
	}
}

func readLimit(resource int) Limit {
	var l unix.Rlimit
	if err := unix.Getrlimit(resource, &l); err != nil {
		return Limit{Err: os.NewSyscallError("getrlimit", err)}
	}
	return Limit{Soft: l.Cur, Hard: l.Max}
}

// readOpenFiles returns the limit that workers get. It asks a shell for the soft limit, because the
// Go runtime raises that of its own process (syscall/rlimit.go) and restores it in children.
func readOpenFiles() Limit {
	l := readLimit(unix.RLIMIT_NOFILE)
	if l.Err != nil {
		return l
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", "ulimit -Sn")
	cmd.WaitDelay = readTimeout
	text, err := cmd.Output()
	if err != nil {
		return Limit{Err: fmt.Errorf("cannot ask a shell for the limit that workers get: %w", err)}
	}
	word := strings.TrimSpace(string(text))
	if word == "unlimited" || word == "infinity" {
		l.Soft = Unlimited
		return l
	}
	if l.Soft, err = strconv.ParseUint(word, 10, 64); err != nil {
		err = fmt.Errorf("cannot read the limit that workers get: a shell says %q", word)
		return Limit{Err: err}
	}
	return l
}
