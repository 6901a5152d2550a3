//go:build linux && !nonvml

package probe

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml"
)

// describe asks the GPU what it is. What it does not say stays empty; only an answer that means that nothing will run
// on it becomes its Problem.
func (g *nvmlGPU) describe() {
	d := &g.device
	if uuid, err := g.handle.UUID(); g.noted(err) {
		d.UUID = identity(uuid, "GPU-")
	}
	if name, err := g.handle.Name(); g.noted(err) {
		d.Name = name
	}
	if address, err := g.handle.PCIBusID(); g.noted(err) {
		if at, ok := parsePCI(address); ok {
			d.PCIBusID = at.String()
		}
	}
	if minor, err := g.handle.MinorNumber(); g.noted(err) {
		d.Minor = &minor
	}
	if memory, err := g.handle.Memory(); g.noted(err) {
		d.MemoryTotalBytes = memory.Total
	}
	if words, err := g.handle.CPUAffinityWithinNUMA(); g.noted(err) {
		d.CPUAffinity = cpuList(words)
	}
	if mode, err := g.handle.ComputeMode(); g.noted(err) {
		g.mode = mode
		d.ComputeMode = mode.String()
	}
	if mode, err := g.handle.PersistenceMode(); g.noted(err) {
		d.Persistence = &mode
	}
	if current, _, err := g.handle.ECCMode(); g.noted(err) {
		d.ECC = &current
	}
	if current, _, err := g.handle.MIGMode(); g.noted(err) {
		d.MIG = current
	}
	if d.MIG {
		g.describeInstances()
	}
}

// noted reports whether a question was answered, and notes an answer that means the GPU is gone.
func (g *nvmlGPU) noted(err error) bool {
	if g.lost == nil && gone(err) {
		g.lost = err
		g.device.Problem = nvmlText(err)
	}
	return err == nil
}

// gone reports whether an error means that the GPU works for nobody, as opposed to a question it cannot answer.
func gone(err error) bool {
	return errors.Is(err, nvml.ErrGPUIsLost) || errors.Is(err, nvml.ErrResetRequired)
}

// describeInstances lists the parts of a GPU in MIG mode. Places without an instance are common and no error.
func (g *nvmlGPU) describeInstances() {
	places, err := g.handle.MaxMIGDevices()
	g.noted(err)
	for i := range places {
		handle, err := g.handle.MIGDevice(i)
		if !g.noted(err) {
			continue
		}
		if m, ok := describeInstance(handle); ok {
			g.device.MIGInstances = append(g.device.MIGInstances, m)
			g.instances = append(g.instances, handle)
		}
	}
	if len(g.device.MIGInstances) == 0 && g.device.Problem == "" {
		g.device.Problem = gpu.ProblemNoInstance
	}
}

// describeInstance fails for an instance without a UUID, since nothing could be run on it.
func describeInstance(handle handle) (gpu.MIGInstance, bool) {
	uuid, err := handle.UUID()
	m := gpu.MIGInstance{UUID: identity(uuid, "MIG-")}
	if err != nil || m.UUID == "" {
		return m, false
	}
	if name, err := handle.Name(); err == nil {
		m.Name = name
	}
	attributes, err := handle.Attributes()
	m.Profile = profile(m.Name, attributes, err == nil)
	if memory, err := handle.Memory(); err == nil {
		m.MemoryTotalBytes = memory.Total
	}
	if id, err := handle.GPUInstanceID(); err == nil {
		m.GPUInstance = pointer(int(id))
	}
	if id, err := handle.ComputeInstanceID(); err == nil {
		m.ComputeInstance = pointer(int(id))
	}
	return m, true
}

// profile is what the name ends in, as in "NVIDIA H100 80GB HBM3 MIG 3g.40gb", or is put together as NVIDIA does it.
func profile(name string, a nvml.Attributes, known bool) string {
	if _, profile, ok := strings.Cut(name, " MIG "); ok {
		return profile
	}
	if !known || a.GPUSlices == 0 {
		return ""
	}
	whole := fmt.Sprintf("%dg.%dgb", a.GPUSlices, (a.MemoryMegabytes+512)/1024)
	if a.ComputeSlices < a.GPUSlices {
		return fmt.Sprintf("%dc.%s", a.ComputeSlices, whole)
	}
	return whole
}

// listProcesses asks who computes on the GPU. One in MIG mode tells only the privileged; its instances tell everybody.
func (g *nvmlGPU) listProcesses(lib library, root string) {
	if !g.device.MIG {
		g.addProcesses(g.handle, "", lib, root)
	}
	for i, instance := range g.instances {
		g.addProcesses(instance, g.device.MIGInstances[i].UUID, lib, root)
	}
}

func (g *nvmlGPU) addProcesses(h handle, mig string, lib library, root string) {
	processes, err := h.ComputeProcesses()
	g.noted(err)
	for _, p := range processes {
		q := gpu.Process{PID: int(p.PID), MIG: mig, MemoryBytes: p.UsedBytes, MemoryKnown: p.UsedKnown}
		identify(&q, root)
		if q.Command == "" {
			name, _ := lib.ProcessName(p.PID) // "" where it does not say
			q.Command = programName(name)
		}
		g.device.Processes = append(g.device.Processes, q)
	}
}

// identity is s if it can stand in CUDA_VISIBLE_DEVICES, and "" if it cannot.
func identity(s, prefix string) string {
	if !strings.HasPrefix(s, prefix) || strings.ContainsAny(s, "?, ") {
		return ""
	}
	return s
}

func pointer[T any](v T) *T { return &v }
