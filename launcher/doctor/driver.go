package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/internal/text"
)

// discovery judges how the GPUs were found, or why none were.
func discovery(f Facts) []Result {
	reload := "look for NVRM and Xid in the kernel's log (dmesg), end what uses the GPUs, and reload the driver's modules or reboot"
	n := text.Plural(len(f.Inventory.Devices), "%d GPU", "%d GPUs")
	switch {
	case f.Hung:
		return one(bad(Fail, reload+"; --gpu-timeout waits longer", "the driver hangs: %s", f.Inventory.Reason))
	case f.gpuless():
		return one(withoutDriver(f))
	case f.Inventory.Source == gpu.SourceNVML, f.NoNVML && f.Inventory.Source == gpu.SourceDriver:
		return one(good("%s: %s", n, f.Inventory.Reason))
	case f.NoNVML:
		return one(bad(Fail, "see that nvidia-smi lists the GPUs, or use a build with NVML", "a driver is there, but no GPU was found: %s", f.Inventory.Reason))
	}
	remedy := "see that nvidia-smi lists the GPUs: reboot after an update of the driver; in a container allow NVML with NVIDIA_DRIVER_CAPABILITIES=compute,utility; " +
		"name the library with --nvml-library if it is in an odd place"
	return one(bad(Fail, remedy, "NVML does not tell of the GPUs: %s", f.Inventory.Reason))
}

// withoutDriver tells a machine without GPUs from one whose GPUs lie idle.
func withoutDriver(f Facts) Result {
	switch {
	case f.OnBusErr != nil:
		return untold("%s; whether there are GPUs without a driver could not be told: %v", f.Inventory.Reason, f.OnBusErr)
	case len(f.OnBus) > 0:
		return bad(Fail, "install NVIDIA's driver and load it (modprobe nvidia); in a container, start it with the GPUs (docker --gpus all)",
			"%s at %s, but %s", text.Plural(len(f.OnBus), "there is an NVIDIA GPU", "there are %d NVIDIA GPUs"), strings.Join(f.OnBus, ", "), f.Inventory.Reason)
	}
	return good("%s; jobs run on CPUs", f.Inventory.Reason)
}

// versions compares the library with the loaded kernel module. NVML's version is that of the CUDA it came with, a dot,
// and the driver's, as in 12.550.54.15.
func versions(f Facts) []Result {
	if f.gpuless() {
		return nil
	}
	module := f.Module
	if module == "" {
		module = f.Inventory.DriverVersion
	}
	_, library, _ := strings.Cut(f.Inventory.NVMLVersion, ".")
	known := fmt.Sprintf("driver %s, NVML %s, CUDA up to %s", orUnknown(module), orUnknown(f.Inventory.NVMLVersion), orUnknown(f.Inventory.CUDAVersion))
	if f.ModuleErr != nil && !errors.Is(f.ModuleErr, fs.ErrNotExist) {
		known += fmt.Sprintf("; the module's own word could not be read: %v", f.ModuleErr)
	}
	switch {
	case f.WSL, f.NoNVML && module != "": // under WSL the driver is the one of Windows, with numbers of its own
		return one(good("%s", known))
	case module == "" || library == "":
		return one(untold("%s", known))
	case module != library:
		return one(bad(Fail, "reboot, or unload and load the driver's modules: after an update the old one stays loaded",
			"the kernel has driver %s, but the library is from %s", module, library))
	case f.ModuleErr != nil && !errors.Is(f.ModuleErr, fs.ErrNotExist):
		return one(untold("%s", known))
	}
	return one(good("%s", known))
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// moduleVersion matches the version in /proc/driver/nvidia/version, whose words differ between the proprietary and the
// open module: it is the first number with dots.
var moduleVersion = regexp.MustCompile(`(?m)^NVRM version:.*?[ \t](\d+(?:\.\d+)+)(?:[ \t]|$)`)

func parseModule(file string) (string, error) {
	m := moduleVersion.FindStringSubmatch(file)
	if m == nil {
		return "", errors.New("there is no version in it")
	}
	return m[1], nil
}

// deviceFiles judges the files that CUDA opens.
func deviceFiles(f Facts) []Result {
	if f.gpuless() {
		return nil
	}
	var results []Result
	var fine, missing []string
	for _, file := range f.Files {
		switch {
		case file.Access == nil:
			fine = append(fine, file.Path)
		case errors.Is(file.Access, fs.ErrNotExist):
			missing = append(missing, file.Path)
		case errors.Is(file.Access, fs.ErrPermission):
			results = append(results, bad(Fail, file.remedy(), "%s cannot be read and written by this user: mode %04o, group %s", file.Path, file.Mode.Perm(), orUnknown(file.Group)))
		default:
			results = append(results, untold("%s: %v", file.Path, file.Access))
		}
	}
	if len(missing) > 0 {
		results = append(results, bad(Warn, "nvidia-modprobe -c 0 -u makes them, and CUDA does so itself where that program is setuid root; a container needs them from outside",
			"%s: not there", strings.Join(missing, ", ")))
	}
	if nameless := f.withoutMinor(); nameless > 0 {
		results = append(results, untold("%s", text.Plural(nameless, "which device file belongs to %d GPU is not known", "which device files belong to %d GPUs is not known")))
	}
	if len(fine) > 0 {
		results = append(results, good("readable and writable: %s", strings.Join(fine, ", ")))
	}
	return results
}

func (d DeviceFile) remedy() string {
	if d.Mode.Perm()&0o060 == 0o060 && d.Group != "" && d.Group != "root" {
		return fmt.Sprintf("add the user to the group %s and log in anew", d.Group)
	}
	return "chmod 0666 it, and set NVreg_DeviceFileMode=0666 for the nvidia module so that it stays"
}

func (f Facts) withoutMinor() int {
	n := 0
	for _, d := range f.Inventory.Devices {
		if d.Minor == nil && d.Usable() && f.admitted(d) && !f.WSL {
			n++
		}
	}
	return n
}
