package affinity

import (
	"errors"
	"fmt"
	"io/fs"
)

const pciDir = "/sys/bus/pci/devices/"

// Locality is what is known about a device's place in the machine: plain data.
type Locality struct {
	// Name identifies the device in warnings and errors, such as "GPU 3 (0000:1b:00.0)".
	Name string `json:"name"`
	// NUMANode is the device's node; -1 when it is unknown. It is never guessed.
	NUMANode int `json:"numa_node"`
	// CPUs are the CPUs near the device, according to sysfs. Empty when they are unknown.
	CPUs CPUSet `json:"cpus"`
	// Reported are the CPUs near the device, according to the device's own library (NVML). Empty
	// when they are unknown.
	Reported CPUSet `json:"reported"`
	// PCIPath is the device's real folder in sysfs, which shows the bridges that it is behind, such
	// as "/sys/devices/pci0000:17/0000:17:00.0/0000:18:00.0". Empty when it is unknown.
	PCIPath string `json:"pci_path,omitempty"`
}

// ReadLocality reads the place of a PCI device from root/sys/bus/pci/devices/ADDRESS: its
// numa_node, local_cpus and local_cpulist files, and the link itself
// (Documentation/ABI/testing/sysfs-bus-pci). The address may be in any form that [CanonicalPCI]
// accepts; its canonical form becomes the name.
//
// What a missing file would say is unknown. If there is no such device, the error wraps
// fs.ErrNotExist. A file that cannot be parsed is an error too, and the locality holds what the
// other files say. The locality can be used whatever the error is.
func ReadLocality(root, pciAddress string) (Locality, error) {
	loc := Locality{Name: pciAddress, NUMANode: -1}
	addr, err := CanonicalPCI(pciAddress)
	if err != nil {
		return loc, err
	}
	loc.Name = addr
	s, err := openSysfs(root)
	if err != nil {
		return loc, fmt.Errorf("cannot read the place of PCI device %s: %w", addr, err)
	}
	defer s.close()
	return s.readLocality(loc)
}

// readLocality completes a locality, whose name is the device's address, from the device's files.
func (s *sysfs) readLocality(loc Locality) (Locality, error) {
	addr, dir := loc.Name, pciDir+loc.Name
	if err := s.stat(dir); err != nil {
		return loc, fmt.Errorf("cannot read the place of PCI device %s: %w", addr, err)
	}
	loc.PCIPath = s.pciPath(addr)
	node, nodeErr := s.readInt(dir + "/numa_node")
	if nodeErr == nil && node >= 0 {
		loc.NUMANode = node
	}
	var cpusErr error
	loc.CPUs, cpusErr = s.readSet(dir+"/local_cpus", dir+"/local_cpulist")
	if err := ignoreMissing(nodeErr); err != nil {
		return loc, err
	}
	return loc, ignoreMissing(cpusErr)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
