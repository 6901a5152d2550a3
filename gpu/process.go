package gpu

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
)

// Process is a process that computes on a GPU, whoever's it is.
type Process struct {
	// PID is the driver's word for it: inside a container it may be that of the host.
	PID int `json:"pid"`
	// MIG is the UUID of the MIG instance that it runs on, or "".
	MIG string `json:"mig,omitempty"`
	// User is its user's name, or number where there is no name, or "" when it is not visible.
	User string `json:"user,omitempty"`
	// Command is the name of its program without folder and arguments, which may hold secrets; "" when nobody says.
	Command string `json:"command,omitempty"`
	// MemoryBytes is the device memory it uses, if MemoryKnown.
	MemoryBytes uint64 `json:"memory_bytes,omitempty"`
	MemoryKnown bool   `json:"memory_known"`
	// Visible is false when this process cannot look at it under its PID: it is in another PID namespace, or hidden.
	Visible bool `json:"visible"`
}

// Others are the processes that are not one's own.
func Others(ps []Process, own func(pid int) bool) []Process {
	return slices.DeleteFunc(slices.Clone(ps), func(p Process) bool { return own(p.PID) })
}

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
func (p *Process) identify(root string) {
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
