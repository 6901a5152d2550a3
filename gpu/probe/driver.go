package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// driverFolder is where the kernel driver describes itself and its GPUs.
const driverFolder = "/proc/driver/nvidia"

// driverFileLimit is how many bytes are read of one of the driver's files. Real ones have a few
// hundred bytes.
const driverFileLimit = 64 << 10

// DriverPresent reports whether there is a trace of an NVIDIA driver below root ("" is "/").
// Without a driver NVML can only fail, so there is no need to load it or to start a child. Under
// WSL the trace is /dev/dxg.
func DriverPresent(root string) bool {
	for _, path := range []string{driverFolder, "/dev/nvidiactl", "/dev/dxg"} {
		if _, err := os.Stat(inRoot(root, path)); err == nil {
			return true
		}
	}
	return false
}

// inRoot returns where an absolute path lies below another root folder.
func inRoot(root, path string) string {
	if root == "" {
		return path
	}
	return filepath.Join(root, path)
}

// driverDevices returns the GPUs that the kernel driver lists, in PCI order. An entry that cannot
// be read still counts, because its folder's name is its address. A GPU that the driver was told to
// exclude (NVreg_ExcludedGpus) does not count: NVML and CUDA leave it out as well, and our indexes
// have to agree with theirs.
func driverDevices(root string) ([]gpu.Device, error) {
	folder := inRoot(root, driverFolder+"/gpus")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var devices []gpu.Device
	for _, entry := range entries {
		text, err := readDriverFile(filepath.Join(folder, entry.Name(), "information"))
		device, excluded := parseInformation(text)
		if at, ok := parsePCI(entry.Name()); ok {
			device.PCIBusID = at.String()
		}
		if excluded || device.PCIBusID == "" { // an entry that nowhere has an address is not a GPU
			continue
		}
		if err != nil {
			device.Problem = fmt.Sprintf("cannot read the driver's file about it: %v", err)
		}
		devices = append(devices, device)
	}
	arrange(devices)
	return devices, nil
}

// withDeviceFile returns the GPUs that have a device file, numbered anew, and lists the files that
// are missing. A container sees the driver's files of all GPUs of its host, but can open only those
// whose device files it has; NVML and CUDA count only these. A GPU whose file is unknown stays.
func withDeviceFile(root string, all []gpu.Device) (devices []gpu.Device, missing string) {
	var files []string
	for _, d := range all {
		if d.Minor != nil {
			file := fmt.Sprintf("/dev/nvidia%d", *d.Minor)
			if _, err := os.Stat(inRoot(root, file)); errors.Is(err, fs.ErrNotExist) {
				files = append(files, file)
				continue
			}
		}
		d.Index = len(devices)
		devices = append(devices, d)
	}
	if more := len(files) - maxMissing; more > 0 {
		files = append(files[:maxMissing], fmt.Sprintf("%d more", more))
	}
	return devices, strings.Join(files, ", ")
}

// maxMissing is how many device files that are missing are named.
const maxMissing = 4

// driverVersion returns the version of the loaded kernel module, or "" if it is unknown.
func driverVersion(root string) string {
	text, err := readDriverFile(inRoot(root, driverFolder+"/version"))
	if err != nil {
		return ""
	}
	return parseVersion(text)
}

func readDriverFile(path string) (string, error) {
	b, err := readAtMost(path, driverFileLimit)
	return string(b), err
}

// parseInformation reads /proc/driver/nvidia/gpus/*/information: lines of "Key: value", padded with
// spaces or tabs. Values that are missing or malformed stay empty. For a GPU that no program has
// opened yet, the driver writes question marks into the UUID.
func parseInformation(text string) (d gpu.Device, excluded bool) {
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "Model":
			if value != "Unknown" {
				d.Name = printable(value)
			}
		case "GPU UUID":
			if isGPUUUID(value) {
				d.UUID = value
			}
		case "Bus Location":
			if at, ok := parsePCI(value); ok {
				d.PCIBusID = at.String()
			}
		case "Device Minor":
			if n, err := strconv.ParseUint(value, 10, 20); err == nil {
				minor := int(n)
				d.Minor = &minor
			}
		case "GPU Excluded", "GPU Blacklisted":
			excluded = value == "Yes"
		}
	}
	return d, excluded
}

// isGPUUUID reports whether s is "GPU-" and a UUID in the usual form 8-4-4-4-12.
func isGPUUUID(s string) bool {
	digits, ok := strings.CutPrefix(s, "GPU-")
	if !ok || len(digits) != 36 {
		return false
	}
	for i, c := range []byte(digits) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) {
				return false
			}
		}
	}
	return true
}

// printable removes invalid UTF-8 and everything that is not printable from a text that somebody
// else wrote, and the blanks around it.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return strings.TrimSpace(s)
}

// parseVersion returns the version number in /proc/driver/nvidia/version. The words around it
// differ between the proprietary and the open kernel module, but it is always the first word that
// consists of numbers and dots.
func parseVersion(text string) string {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "NVRM version:") {
			continue
		}
		for word := range strings.FieldsSeq(line) {
			if isVersion(word) {
				return word
			}
		}
	}
	return ""
}

// isVersion reports whether a word consists of at least two numbers with dots between them.
func isVersion(word string) bool {
	parts := strings.Split(word, ".")
	for _, part := range parts {
		if _, err := strconv.ParseUint(part, 10, 32); err != nil {
			return false
		}
	}
	return len(parts) > 1
}
