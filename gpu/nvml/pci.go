//go:build linux && !nonvml

package nvml

import (
	"bytes"
	"fmt"
	"unsafe"
)

// PCIInfo is the place of a GPU on the PCI bus.
type PCIInfo struct {
	// BusID is the address as it appears in /sys/bus/pci/devices: "0000:1b:00.0".
	BusID  string
	Domain uint32
	Bus    uint32
	Device uint32
	// VendorDevice has the device id in its upper 16 bits and the vendor id in its lower 16 bits.
	VendorDevice uint32
}

// PCI returns the address of a GPU, or of the GPU that a MIG instance is a part of
// (nvmlDeviceGetPciInfo_v3, nvmlDeviceGetPciInfo_v2, nvmlDeviceGetPciInfo).
func (d Device) PCI() (PCIInfo, error) {
	var p pciInfo
	err := d.lib.callNewest([]symbol{devicePCIV3, devicePCIV2, devicePCIV1},
		d.handle, uintptr(unsafe.Pointer(&p)))
	if err != nil {
		return PCIInfo{}, err
	}
	return PCIInfo{
		// Like the kernel, which writes a domain with at least four digits.
		BusID: fmt.Sprintf("%04x:%02x:%02x.%c",
			p.domain, p.bus, p.device, p.function()),
		Domain:       p.domain,
		Bus:          p.bus,
		Device:       p.device,
		VendorDevice: p.deviceID,
	}, nil
}

// function returns the digit after the dot of the address. NVML gives it only as text.
func (p *pciInfo) function() byte {
	for _, id := range [][]byte{p.busID[:], p.legacyBusID[:]} {
		dot := bytes.IndexByte(id, '.')
		if dot >= 0 && dot+1 < len(id) && '0' <= id[dot+1] && id[dot+1] <= '7' {
			return id[dot+1]
		}
	}
	return '0'
}
