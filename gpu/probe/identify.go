package probe

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// Bounds on what is read about a process: of its command line, and of its open files.
const (
	commandLimit   = 4096
	commandName    = 64
	openFilesLimit = 4096
)

// initialPIDNamespace is the number of the namespace that the kernel begins with (PROC_PID_INIT_INO of
// include/linux/proc_ns.h).
const initialPIDNamespace = "pid:[4026531836]"

// identify fills in what /proc says of the process.
//
// NVML gives PIDs of the host. In another PID namespace the same number may be somebody else, so there it takes an open
// GPU to believe that it is the one.
func identify(p *gpu.Process, root string) {
	folder := under(root, "/proc/"+strconv.Itoa(p.PID))
	info, err := os.Stat(folder)
	if err != nil || p.PID <= 0 {
		return
	}
	if name, err := os.Readlink(under(root, "/proc/self/ns/pid")); err != nil || name != initialPIDNamespace {
		if !hasGPUOpen(folder) {
			return
		}
	}
	p.Visible = true
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		p.User = userName(stat.Uid)
	}
	if command := commandOf(folder); command != "" {
		p.Command = command
	}
}

func userName(uid uint32) string {
	number := fmt.Sprint(uid)
	if u, err := user.LookupId(number); err == nil && u.Username != "" {
		return printable(u.Username)
	}
	return number
}

// commandOf is the name of a process's program: what it was called by, else what the kernel calls its main thread.
func commandOf(folder string) string {
	line, _ := readSome(filepath.Join(folder, "cmdline"), commandLimit)
	first, _, _ := bytes.Cut(line, []byte{0})
	if name := programName(string(first)); name != "" {
		return name
	}
	line, _ = readSome(filepath.Join(folder, "comm"), commandName)
	return programName(string(line))
}

// programName is the last part of a path, which ends at the first space: a process that has given itself a title, and
// the driver, write arguments behind it.
func programName(title string) string {
	words := strings.Fields(title)
	if len(words) == 0 {
		return ""
	}
	name := printable(path.Base(words[0]))
	return strings.ToValidUTF8(name[:min(len(name), commandName)], "")
}

// hasGPUOpen reports whether a process is seen to have a GPU's device file open.
func hasGPUOpen(folder string) bool {
	dir, err := os.Open(filepath.Join(folder, "fd"))
	if err != nil {
		return false
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(openFilesLimit)
	return slices.ContainsFunc(names, func(name string) bool {
		file, err := os.Readlink(filepath.Join(folder, "fd", name))
		return err == nil && (strings.HasPrefix(file, "/dev/nvidia") || file == "/dev/dxg")
	})
}

func readSome(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
