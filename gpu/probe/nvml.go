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

// nvmlSource is a started NVML and the handles of its last inventory.
type nvmlSource struct {
	lib    library
	root   string              // where /proc is
	listed func() []gpu.Device // the driver's own list
	count  int
	gpus   []nvmlGPU // in PCI order
	events *nvmlEvents
}

// nvmlGPU is a GPU with what it takes to ask for its figures.
type nvmlGPU struct {
	device    gpu.Device
	handle    handle
	attached  bool     // whether handle is one
	instances []handle // one for each of device.MIGInstances
	mode      nvml.ComputeMode
	lost      error // the answer that means that the GPU is gone
}

// openNVML loads and starts the library.
func openNVML(o Options, listed func() []gpu.Device) (source, error) {
	lib, err := openLibrary(o.Library)
	if err != nil {
		return nil, err
	}
	if err := lib.Init(); err != nil {
		return nil, fmt.Errorf("NVML from %s did not start: %s%s", lib.Path(), nvmlText(err), startHint(err))
	}
	return &nvmlSource{lib: lib, root: o.Root, listed: listed}, nil
}

// startHint says what to do about a start that failed.
func startHint(err error) string {
	switch {
	case errors.Is(err, nvml.ErrLibRMVersionMismatch):
		return ", reboot or reload the driver's modules"
	case errors.Is(err, nvml.ErrNoPermission):
		return ", check the permissions of /dev/nvidia*"
	}
	return ""
}

// nvmlText is an error's text without the binding's name in front, since the sentences around it have that already.
func nvmlText(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "nvml: "), "NVML: ")
}

func (s *nvmlSource) close() { s.lib.Shutdown() }

func (s *nvmlSource) inventory() (gpu.Inventory, error) {
	inv := gpu.Inventory{Source: gpu.SourceNVML, Library: s.lib.Path(), Devices: []gpu.Device{}}
	// Versions are for people: without them the inventory is as good.
	inv.DriverVersion, _ = s.lib.DriverVersion()
	inv.NVMLVersion, _ = s.lib.NVMLVersion()
	if v, err := s.lib.CUDADriverVersion(); err == nil {
		inv.CUDAVersion = fmt.Sprintf("%d.%d", v/1000, v%1000/10)
	}
	inv.Reason = strings.Join(strings.Fields("NVML "+inv.NVMLVersion+" from "+inv.Library), " ")
	if err := s.refresh(); err != nil {
		return gpu.Inventory{}, fmt.Errorf("NVML from %s could not count the GPUs: %s", inv.Library, nvmlText(err))
	}
	for _, g := range s.gpus {
		inv.Devices = append(inv.Devices, g.device)
	}
	s.complete(inv.Devices)
	for i := range s.gpus {
		s.gpus[i].examine()
		inv.Devices[i] = s.gpus[i].device
	}
	s.followEvents()
	return inv, nil
}

// refresh lists the GPUs anew, each on its own: what one of them answers does not matter to the others.
func (s *nvmlSource) refresh() error {
	n, err := s.lib.DeviceCount()
	if err != nil {
		return err
	}
	s.count = n
	s.gpus = s.gpus[:0]
	for i := range n {
		s.gpus = append(s.gpus, s.open(i))
	}
	return nil
}

// complete fills in what NVML could not say from the driver's list, puts the devices in order and the handles behind
// them.
func (s *nvmlSource) complete(devices []gpu.Device) {
	fillFrom(s.listed(), devices)
	gpus := slices.Clone(s.gpus)
	for i, from := range arrange(devices) {
		s.gpus[i] = gpus[from]
		s.gpus[i].device = devices[i]
	}
}

// open attaches to the GPU with an NVML index and describes it.
func (s *nvmlSource) open(i int) nvmlGPU {
	handle, err := s.lib.Device(i)
	if err != nil {
		g := nvmlGPU{device: gpu.Device{Problem: nvmlText(err)}}
		g.noted(err)
		return g
	}
	g := nvmlGPU{handle: handle, attached: true}
	g.describe()
	g.listProcesses(s.lib, s.root)
	return g
}

// sample asks every GPU for its figures. When their number has changed, they are listed anew first.
func (s *nvmlSource) sample() gpu.Sample {
	result := gpu.Sample{Time: time.Now(), Devices: make([]gpu.DeviceSample, 0, len(s.gpus))}
	n, err := s.lib.DeviceCount()
	if err != nil {
		result.Error = "NVML could not count the GPUs: " + nvmlText(err)
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
