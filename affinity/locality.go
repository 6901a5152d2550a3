package affinity

import (
	"errors"
	"fmt"
	"io/fs"
)

const pciDir = "/sys/bus/pci/devices/"

// Locality is what is known of where a device sits: plain data.
type Locality struct {
	// Name says which device it is in messages, such as "GPU 3 (0000:1b:00.0)".
	Name string `json:"name"`
	// NUMANode is the device's node, -1 when unknown. It is never guessed.
	NUMANode int `json:"numa_node"`
	// CPUs are the device's local CPUs by sysfs. Empty: unknown.
	CPUs CPUSet `json:"cpus"`
	// Reported are the device's local CPUs by the device's own library (NVML). Empty: unknown.
	Reported CPUSet `json:"reported"`
	// PCIPath is the device's real folder in sysfs, with the bridges above it, such as
	// "/sys/devices/pci0000:17/0000:17:00.0/0000:18:00.0". "" when unknown.
	PCIPath string `json:"pci_path,omitempty"`
}

// ReadLocality reads where a PCI device sits from root/sys/bus/pci/devices/ADDRESS: numa_node, local_cpus,
// local_cpulist and the link itself (Documentation/ABI/testing/sysfs-bus-pci). The address may be in NVML's form; it becomes the name.
//
// What is missing is unknown. For a device that is not there the error wraps fs.ErrNotExist. A file that makes no sense
// is an error too, and the locality holds what the other files say. With any error the locality is safe to use.
func ReadLocality(root, pciAddress string) (Locality, error) {
	loc := Locality{Name: pciAddress, NUMANode: -1}
	addr, err := CanonicalPCI(pciAddress)
	if err != nil {
		return loc, err
	}
	loc.Name = addr
	s, err := openSysfs(root)
	if err != nil {
		return loc, fmt.Errorf("cannot read where PCI device %s sits: %w", addr, err)
	}
	defer s.close()
	return s.readLocality(loc)
}

// readLocality adds to a locality what the files of the device with its name say.
func (s *sysfs) readLocality(loc Locality) (Locality, error) {
	addr, dir := loc.Name, pciDir+loc.Name
	if err := s.stat(dir); err != nil {
		return loc, fmt.Errorf("cannot read where PCI device %s sits: %w", addr, err)
	}
	loc.PCIPath = s.pciPath(addr)
	node, nodeErr := s.readInt(dir + "/numa_node")
	if nodeErr == nil && node >= 0 {
		loc.NUMANode = node
	}
	var cpusErr error
	loc.CPUs, cpusErr = s.readSet(dir+"/local_cpus", dir+"/local_cpulist")
	if err := unlessMissing(nodeErr); err != nil {
		return loc, err
	}
	return loc, unlessMissing(cpusErr)
}

func unlessMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
