package probe

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// pciAddress is the place of a device on the PCI bus. Addresses have the order that CUDA uses with
// CUDA_DEVICE_ORDER=PCI_BUS_ID.
type pciAddress struct {
	domain, bus, device, function uint64
}

// parsePCI reads domain:bus:device.function in hexadecimal. NVML writes the domain with eight
// digits in upper case, sysfs and the driver's files with four or more in lower case.
func parsePCI(s string) (pciAddress, bool) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return pciAddress{}, false
	}
	device, function, ok := strings.Cut(parts[2], ".")
	if !ok {
		return pciAddress{}, false
	}
	var a pciAddress
	for _, field := range []struct {
		text string
		bits int
		into *uint64
	}{
		{parts[0], 32, &a.domain}, {parts[1], 8, &a.bus},
		{device, 5, &a.device}, {function, 3, &a.function},
	} {
		n, err := strconv.ParseUint(field.text, 16, field.bits)
		if err != nil {
			return pciAddress{}, false
		}
		*field.into = n
	}
	return a, true
}

// String returns the address as it appears in /sys/bus/pci/devices.
func (a pciAddress) String() string {
	return fmt.Sprintf("%04x:%02x:%02x.%x", a.domain, a.bus, a.device, a.function)
}

func (a pciAddress) compare(b pciAddress) int {
	return cmp.Or(
		cmp.Compare(a.domain, b.domain),
		cmp.Compare(a.bus, b.bus),
		cmp.Compare(a.device, b.device),
		cmp.Compare(a.function, b.function),
	)
}
