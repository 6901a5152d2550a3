package affinity

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// NIC is an RDMA device: plain data.
type NIC struct {
	// Name is the kernel's name of the device, such as mlx5_0.
	Name string `json:"name"`
	// PCIAddress is the address of the device's PCI function. Empty for a device that is not on a
	// PCI bus, such as soft-RoCE.
	PCIAddress string `json:"pci_address,omitempty"`
	// PCIPath is the real folder of that function, as in [Locality.PCIPath].
	PCIPath string `json:"pci_path,omitempty"`
	// NUMANode is the device's node; -1 when it is unknown.
	NUMANode int       `json:"numa_node"`
	Ports    []NICPort `json:"ports"`
}

// NICPort is a port of an RDMA device.
type NICPort struct {
	Number    int    `json:"number"` // from 1
	State     string `json:"state"`  // the kernel's word, such as ACTIVE or DOWN; "" when unknown
	LinkLayer string `json:"link_layer"`
}

const infinibandDir = "/sys/class/infiniband"

// ReadNICs reads the RDMA devices in root/sys/class/infiniband, and returns them sorted by name
// (Documentation/ABI/stable/sysfs-class-infiniband). If there are none, that is not an error.
func ReadNICs(root string) ([]NIC, error) {
	s, err := openSysfs(root)
	if err != nil {
		return nil, fmt.Errorf("cannot read the RDMA devices: %w", err)
	}
	defer s.close()
	return s.readNICs()
}

func (s *sysfs) readNICs() ([]NIC, error) {
	names, err := s.names(infinibandDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var nics []NIC
	for _, name := range names {
		nics = append(nics, readNIC(s, name))
	}
	return nics, nil
}

func readNIC(s *sysfs, name string) NIC {
	dir := infinibandDir + "/" + name
	nic := NIC{Name: name, NUMANode: -1, PCIAddress: pciAddressOf(s, dir)}
	if nic.PCIAddress != "" {
		nic.PCIPath = s.pciPath(nic.PCIAddress)
		if node, err := s.readInt(pciDir + nic.PCIAddress + "/numa_node"); err == nil && node >= 0 {
			nic.NUMANode = node
		}
	}
	ports, _ := s.numbered(dir+"/ports", "")
	for number := range ports.All() {
		port := dir + "/ports/" + CPUs(number).String()
		state, _ := s.read(port + "/state") // "4: ACTIVE"
		if _, word, ok := strings.Cut(state, ": "); ok {
			state = word
		}
		layer, _ := s.read(port + "/link_layer")
		nic.Ports = append(nic.Ports, NICPort{number, state, layer})
	}
	return nic
}

// pciAddressOf returns the PCI address of a device that has a folder in /sys/class. It is the last
// address in the text of the folder's device link. Scalable functions are on the auxiliary bus and
// share a PCI function, whose address is in the text of the folder's own link.
func pciAddressOf(s *sysfs, dir string) string {
	for _, link := range []string{dir + "/device", dir} {
		target, _ := s.readlink(link)
		names := strings.Split(target, "/")
		for _, name := range slices.Backward(names) {
			if addr, err := CanonicalPCI(name); err == nil {
				return addr
			}
		}
	}
	return ""
}

// pciPath returns the real folder of a PCI device, which is below the folders of the bridges that
// the device is behind. It returns "" when that is unknown.
func (s *sysfs) pciPath(addr string) string {
	target, _ := s.readlink(pciDir + addr)
	if real := path.Join(pciDir, target); strings.HasPrefix(real, "/sys/devices/") {
		return real
	}
	return ""
}
