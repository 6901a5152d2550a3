package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// driverFolder is where the kernel driver describes itself and its GPUs.
const driverFolder = "/proc/driver/nvidia"

// driverFileLimit bounds what is read of one file of the driver. Real ones have a few hundred bytes.
const driverFileLimit = 64 << 10

// DriverPresent reports whether anything of an NVIDIA driver is there under root ("" is "/"). Where it is not, NVML can
// only fail, so nobody needs to load it or start a child for it. /dev/dxg is the driver's stand-in under WSL.
func DriverPresent(root string) bool {
	for _, path := range []string{driverFolder, "/dev/nvidiactl", "/dev/dxg"} {
		if _, err := os.Stat(under(root, path)); err == nil {
			return true
		}
	}
	return false
}

// under is an absolute path below another root folder.
func under(root, path string) string {
	if root == "" {
		return path
	}
	return filepath.Join(root, path)
}

// driverDevices reads the GPUs that the kernel driver lists, in PCI order. An entry that cannot be read still counts:
// its folder's name is its address. One that the driver was told to exclude (NVreg_ExcludedGpus) does not: NVML and
// CUDA leave it out as well, and the indexes have to agree with theirs.
func driverDevices(root string) ([]gpu.Device, error) {
	folder := under(root, driverFolder+"/gpus")
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
		if excluded || device.PCIBusID == "" { // without an address in folder or file it is no GPU
			continue
		}
		if err != nil {
			device.Problem = fmt.Sprintf("the driver's file about it is unreadable: %v", err)
		}
		devices = append(devices, device)
	}
	arrange(devices)
	return devices, nil
}

// driverVersion is the loaded kernel module's version, "" when unknown.
func driverVersion(root string) string {
	text, err := readDriverFile(under(root, driverFolder+"/version"))
	if err != nil {
		return ""
	}
	return parseVersion(text)
}

func readDriverFile(path string) (string, error) {
	b, err := readSome(path, driverFileLimit)
	return string(b), err
}

// parseInformation reads /proc/driver/nvidia/gpus/*/information: lines of "Key: value", padded with spaces or tabs.
// What is missing or makes no sense stays empty. The driver writes question marks into the UUID of a GPU that nobody
// has opened yet.
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

// isGPUUUID reports whether s is GPU- and a UUID in the usual 8-4-4-4-12 form.
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

// printable drops what would break a line or a terminal from a name that somebody else wrote.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return strings.TrimSpace(s)
}

// parseVersion finds the version number in /proc/driver/nvidia/version. The words around it differ between the
// proprietary and the open kernel module, but it is the first word made of numbers and dots.
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

func isVersion(word string) bool {
	parts := strings.Split(word, ".")
	for _, part := range parts {
		if _, err := strconv.ParseUint(part, 10, 32); err != nil {
			return false
		}
	}
	return len(parts) > 1
}
