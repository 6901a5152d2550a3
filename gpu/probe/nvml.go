//go:build linux && !nonvml

package probe

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml"
)

// nvmlSource is an initialized NVML and the GPUs of its last inventory.
type nvmlSource struct {
	lib        library
	root       string              // see Options.Root
	driverList func() []gpu.Device // reads the driver's own list
	count      int                 // what NVML said at the last inventory
	gpus       []nvmlGPU           // in PCI order
	events     *nvmlEvents
}

// nvmlGPU is a GPU of the last inventory and what is needed to read its figures.
type nvmlGPU struct {
	device    gpu.Device
	handle    handle
	attached  bool     // handle is valid
	instances []handle // one for each of device.MIGInstances
	mode      nvml.ComputeMode
	goneError error // the first error that means that the GPU is gone
	openError error // why it is not attached
}

// openNVML loads and initializes the library. driverList reads the driver's own list of GPUs.
func openNVML(o Options, driverList func() []gpu.Device) (source, error) {
	lib, err := openLibrary(o.Library)
	if err != nil {
		return nil, loadError{err}
	}
	if err := lib.Init(); err != nil {
		return nil, fmt.Errorf("cannot start NVML from %s: %s%s",
			lib.Path(), errorText(err), startHint(err))
	}
	return &nvmlSource{lib: lib, root: o.Root, driverList: driverList}, nil
}

// startHint says what to do about an NVML that does not start, or returns "".
func startHint(err error) string {
	switch {
	case errors.Is(err, nvml.ErrLibRMVersionMismatch):
		return ", reboot or reload the driver's modules"
	case errors.Is(err, nvml.ErrNoPermission):
		return ", check the permissions of /dev/nvidia*"
	}
	return ""
}

// errorText returns an error's text without the binding's name at its beginning, for sentences that
// already contain it.
func errorText(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "nvml: "), "NVML: ")
}

func (s *nvmlSource) close() { s.lib.Shutdown() }

func (s *nvmlSource) inventory() (gpu.Inventory, error) {
	inv := gpu.Inventory{Source: gpu.SourceNVML, Library: s.lib.Path(), Devices: []gpu.Device{}}
	// Errors are ignored because the versions are only shown to people.
	inv.DriverVersion, _ = s.lib.DriverVersion()
	inv.NVMLVersion, _ = s.lib.NVMLVersion()
	if v, err := s.lib.CUDADriverVersion(); err == nil {
		inv.CUDAVersion = fmt.Sprintf("%d.%d", v/1000, v%1000/10)
	}
	inv.Reason = strings.Join(strings.Fields("NVML "+inv.NVMLVersion+" from "+inv.Library), " ")
	if err := s.refresh(); err != nil {
		return gpu.Inventory{}, fmt.Errorf("cannot count the GPUs with NVML from %s: %s",
			inv.Library, errorText(err))
	}
	for _, g := range s.gpus {
		inv.Devices = append(inv.Devices, g.device)
	}
	s.addDriverList(inv.Devices)
	s.readSpeeds()
	for i := range s.gpus {
		s.gpus[i].checkHealth()
		inv.Devices[i] = s.gpus[i].device
	}
	s.followEvents()
	return inv, nil
}

// refresh lists the GPUs again. Each is opened by itself, so that a broken GPU does not affect the
// others.
func (s *nvmlSource) refresh() error {
	n, err := s.lib.DeviceCount()
	if err != nil {
		return err
	}
	s.count = n
	s.gpus = s.gpus[:0]
	for i := range n {
		s.gpus = append(s.gpus, s.openGPU(i))
	}
	return nil
}

// addDriverList adds to devices what NVML could not say and the driver's own list does, sorts them
// into PCI order, and sorts s.gpus in the same way.
func (s *nvmlSource) addDriverList(devices []gpu.Device) {
	fillFrom(s.driverList(), devices)
	gpus := slices.Clone(s.gpus)
	for i, from := range arrange(devices) {
		s.gpus[i] = gpus[from]
		s.gpus[i].device = devices[i]
	}
}

// openGPU attaches to the GPU with an NVML index and describes it.
func (s *nvmlSource) openGPU(i int) nvmlGPU {
	handle, err := s.lib.Device(i)
	if err != nil {
		g := nvmlGPU{device: gpu.Device{Problem: errorText(err)}, openError: err}
		g.answered(err)
		return g
	}
	g := nvmlGPU{handle: handle, attached: true}
	g.describe()
	g.listProcesses(s.lib, s.root)
	return g
}

// sample reads the figures of every GPU. If the number of GPUs has changed, they are listed again
// first.
func (s *nvmlSource) sample() gpu.Sample {
	result := gpu.Sample{Time: time.Now(), Devices: make([]gpu.DeviceSample, 0, len(s.gpus))}
	n, err := s.lib.DeviceCount()
	if err != nil {
		result.Error = "cannot count the GPUs: " + errorText(err)
		return result
	}
	if n != s.count || s.gpus == nil {
		if _, err := s.inventory(); err != nil {
			result.Error = err.Error()
			return result
		}
	}
	for i := range s.gpus {
		result.Devices = s.gpus[i].sample(result.Devices)
	}
	return result
}
