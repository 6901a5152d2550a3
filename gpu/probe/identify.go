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

// Limits for what is read about a process.
const (
	commandLineLimit = 4096 // bytes of its command line
	programNameLimit = 64   // bytes of its program's name
	openFilesLimit   = 4096 // of its open files
)

// initialPIDNamespace is what /proc/self/ns/pid links to in the kernel's first PID namespace
// (PROC_PID_INIT_INO in include/linux/proc_ns.h).
const initialPIDNamespace = "pid:[4026531836]"

// identify adds to p what /proc says about the process.
//
// NVML reports the host's PIDs. In another PID namespace the same number may belong to a
// different process, so there only a process that has a GPU open is taken for the one.
func identify(p *gpu.Process, root string) {
	folder := inRoot(root, "/proc/"+strconv.Itoa(p.PID))
	info, err := os.Stat(folder)
	if err != nil || p.PID <= 0 {
		return
	}
	namespace, err := os.Readlink(inRoot(root, "/proc/self/ns/pid"))
	if (err != nil || namespace != initialPIDNamespace) && !hasGPUOpen(folder) {
		return
	}
	p.Visible = true
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		p.User = userName(stat.Uid)
	}
	if command := commandOf(folder); command != "" {
		p.Command = command
	}
}

// userName returns a user's name, or the number of a user without a name.
func userName(uid uint32) string {
	number := fmt.Sprint(uid)
	if u, err := user.LookupId(number); err == nil && u.Username != "" {
		return printable(u.Username)
	}
	return number
}

// commandOf returns the name of a process's program: the first word of its command line or, if
// that is empty, the name that the kernel has for its main thread.
func commandOf(folder string) string {
	line, _ := readAtMost(filepath.Join(folder, "cmdline"), commandLineLimit)
	first, _, _ := bytes.Cut(line, []byte{0})
	if name := programName(string(first)); name != "" {
		return name
	}
	line, _ = readAtMost(filepath.Join(folder, "comm"), programNameLimit)
	return programName(string(line))
}

// programName returns the last part of the path at the beginning of title. It stops at the first
// space, because the driver and processes that set their own title append arguments.
func programName(title string) string {
	words := strings.Fields(title)
	if len(words) == 0 {
		return ""
	}
	name := printable(path.Base(words[0]))
	return strings.ToValidUTF8(name[:min(len(name), programNameLimit)], "")
}

// hasGPUOpen reports whether a process visibly has a GPU's device file open.
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

// readAtMost reads a file up to a limit in bytes.
func readAtMost(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
