package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plural"
)

// discovery checks how the GPUs were found, or why none were found.
func discovery(f Facts) []Result {
	gpus := plural.Of(len(f.Inventory.Devices), "%d GPU", "%d GPUs")
	switch {
	case f.Hung:
		return problem(Fail,
			"look for NVRM and Xid in the kernel log (dmesg), end what uses the GPUs, then "+
				"reload the driver's modules or reboot; to wait longer, set --gpu-timeout",
			"the driver hangs: %s", f.Inventory.Reason)
	case f.gpuless():
		return withoutDriver(f)
	case f.Inventory.LibraryProblem != "":
		return problem(Fail,
			"correct --nvml-library, or leave it out to have the library searched for",
			"the NVML library that was named cannot be used: %s", f.Inventory.LibraryProblem)
	case f.Inventory.Source == gpu.SourceNVML, f.integrated(),
		f.NoNVML && f.Inventory.Source == gpu.SourceDriver:
		return ok("%s: %s", gpus, f.Inventory.Reason)
	case f.NoNVML:
		return problem(Fail,
			"check that nvidia-smi lists the GPUs, or use a build with NVML",
			"there is a driver, but no GPU was found: %s", f.Inventory.Reason)
	}
	return problem(Fail,
		"check that nvidia-smi lists the GPUs: after an update of the driver, reboot; "+
			"in a container, allow NVML with NVIDIA_DRIVER_CAPABILITIES=compute,utility; "+
			"if the library is in an unusual place, name it with --nvml-library",
		"NVML does not report the GPUs: %s", f.Inventory.Reason)
}

// withoutDriver tells a machine without GPUs from one that has GPUs but no driver for them.
func withoutDriver(f Facts) []Result {
	switch {
	case f.OnBusErr != nil:
		return unknown("%s; cannot tell whether there are GPUs without a driver: %v",
			f.Inventory.Reason, f.OnBusErr)
	case len(f.OnBus) > 0:
		gpus := plural.Of(len(f.OnBus), "there is an NVIDIA GPU", "there are %d NVIDIA GPUs")
		return problem(Fail,
			"install NVIDIA's driver and load it (modprobe nvidia); if this is a container, "+
				"start it with the GPUs (docker --gpus all)",
			"%s at %s, but %s", gpus, strings.Join(f.OnBus, ", "), f.Inventory.Reason)
	}
	return ok("%s; jobs run on CPUs", f.Inventory.Reason)
}

// versions compares the library with the loaded kernel module.
func versions(f Facts) []Result {
	if f.gpuless() || f.integrated() {
		return nil
	}
	module := f.Module
	if module == "" {
		module = f.Inventory.DriverVersion
	}
	library := f.Inventory.NVMLVersion
	found := fmt.Sprintf("driver %s, NVML %s, CUDA up to %s", orUnknown(module),
		orUnknown(f.Inventory.NVMLVersion), orUnknown(f.Inventory.CUDAVersion))
	unreadable := f.ModuleErr != nil && !errors.Is(f.ModuleErr, fs.ErrNotExist)
	if unreadable {
		found += fmt.Sprintf("; cannot read the version of the kernel module: %v", f.ModuleErr)
	}
	switch {
	case f.WSL, f.NoNVML && module != "": // WSL uses the driver of Windows, with its own versions
		return ok("%s", found)
	case module == "" || library == "":
		return unknown("%s", found)
	case !sameDriver(module, library):
		return problem(Fail,
			"reboot, or reload the driver's modules: after an update the old ones stay loaded",
			"the kernel has driver %s, but the library is from %s", module, library)
	case unreadable:
		return unknown("%s", found)
	}
	return ok("%s", found)
}

// sameDriver reports whether NVML's version is that of a driver. It consists of the version of the
// CUDA it came with, a dot, and the driver's version, as in 12.550.54.15. Some drivers leave the
// first part out, or shorten the last one: 580.65 stands for 580.65.06.
func sameDriver(driver, nvml string) bool {
	_, behind, _ := strings.Cut(nvml, ".")
	for _, version := range []string{nvml, behind} {
		shortened := strings.Contains(version, ".") && strings.HasPrefix(driver, version+".")
		if version == driver || shortened {
			return true
		}
	}
	return false
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// moduleVersion matches the version in /proc/driver/nvidia/version. The words around it differ
// between the proprietary and the open module, but the version is the first number with dots.
var moduleVersion = regexp.MustCompile(`(?m)^NVRM version:.*?[ \t](\d+(?:\.\d+)+)(?:[ \t]|$)`)

func parseModule(file string) (string, error) {
	m := moduleVersion.FindStringSubmatch(file)
	if m == nil {
		return "", errors.New("there is no version in it")
	}
	return m[1], nil
}

// deviceFiles checks the access to the files that CUDA opens.
func deviceFiles(f Facts) []Result {
	if f.gpuless() || f.integrated() {
		return nil
	}
	var results []Result
	var accessible, missing []string
	for _, file := range f.Files {
		switch {
		case file.Access == nil:
			accessible = append(accessible, file.Path)
		case errors.Is(file.Access, fs.ErrNotExist):
			missing = append(missing, file.Path)
		case errors.Is(file.Access, fs.ErrPermission):
			results = append(results, problem(Fail, file.remedy(),
				"%s cannot be read and written by this user: mode %04o, group %s",
				file.Path, file.Mode.Perm(), orUnknown(file.Group))...)
		default:
			results = append(results, unknown("%s: %v", file.Path, file.Access)...)
		}
	}
	if len(missing) > 0 {
		results = append(results, problem(Warn,
			"run nvidia-modprobe -c 0 -u to create them (CUDA does so itself if that program is "+
				"setuid root); a container has to get them from its host",
			"%s: not there", strings.Join(missing, ", "))...)
	}
	if n := f.withoutMinor(); n > 0 {
		results = append(results, unknown("%s", plural.Of(n,
			"which device file belongs to %d GPU is not known",
			"which device files belong to %d GPUs is not known"))...)
	}
	if len(accessible) > 0 {
		found := ok("readable and writable: %s", strings.Join(accessible, ", "))
		results = append(results, found...)
	}
	return results
}

func (d DeviceFile) remedy() string {
	if d.Mode.Perm()&0o060 == 0o060 && d.Group != "" && d.Group != "root" {
		return fmt.Sprintf("add the user to the group %s and log in again", d.Group)
	}
	return "chmod 0666 it; to make that permanent, " +
		"set NVreg_DeviceFileMode=0666 for the nvidia module"
}

// withoutMinor returns the number of GPUs whose device file is not known.
func (f Facts) withoutMinor() int {
	n := 0
	for _, d := range f.Inventory.Devices {
		if d.Minor == nil && d.Usable() && f.admitted(d) && !f.WSL {
			n++
		}
	}
	return n
}
