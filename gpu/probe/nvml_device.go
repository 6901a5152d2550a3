//go:build linux && !nonvml

package probe

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml"
)

// describe asks the GPU what it is. What it does not say stays empty. Only an error that means that
// the GPU is gone becomes its Problem.
func (g *nvmlGPU) describe() {
	d := &g.device
	if uuid, err := g.handle.UUID(); g.answered(err) {
		d.UUID = identity(uuid, "GPU-")
	}
	if name, err := g.handle.Name(); g.answered(err) {
		d.Name = name
	}
	if address, err := g.handle.PCIBusID(); g.answered(err) {
		if at, ok := parsePCI(address); ok {
			d.PCIBusID = at.String()
		}
	}
	if minor, err := g.handle.MinorNumber(); g.answered(err) {
		d.Minor = &minor
	}
	if memory, err := g.handle.Memory(); g.answered(err) {
		d.MemoryTotalBytes = memory.Total
	}
	if words, err := g.handle.CPUAffinityWithinNUMA(); g.answered(err) {
		d.CPUAffinity = cpuList(words)
	}
	if mode, err := g.handle.ComputeMode(); g.answered(err) {
		g.mode = mode
		d.ComputeMode = mode.String()
	}
	if mode, err := g.handle.PersistenceMode(); g.answered(err) {
		d.Persistence = &mode
	}
	if current, _, err := g.handle.ECCMode(); g.answered(err) {
		d.ECC = &current
	}
	if current, _, err := g.handle.MIGMode(); g.answered(err) {
		d.MIG = current
	}
	if d.MIG {
		g.describeInstances()
	}
}

// readSpeeds asks how fast the GPUs are, unless they are all alike: only then does it matter for
// the order in which CUDA counts them.
func (s *nvmlSource) readSpeeds() {
	alike := func(g nvmlGPU) bool { return g.device.Name == s.gpus[0].device.Name }
	if !slices.ContainsFunc(s.gpus, func(g nvmlGPU) bool { return !alike(g) }) {
		return
	}
	for i := range s.gpus {
		g := &s.gpus[i]
		if !g.attached {
			continue
		}
		if cores, err := g.handle.Cores(); g.answered(err) {
			g.device.Cores = int(cores)
		}
		if clock, err := g.handle.MaxClock(nvml.ClockSM); g.answered(err) {
			g.device.MaxClockMHz = int(clock)
		}
	}
}

// answered reports whether a question was answered. It records an error that means that the GPU is
// gone.
func (g *nvmlGPU) answered(err error) bool {
	if g.goneError == nil && meansGone(err) {
		g.goneError = err
		g.device.Problem = errorText(err)
	}
	return err == nil
}

// meansGone reports whether an error means that the GPU no longer works. Other errors only mean
// that it cannot answer the question.
func meansGone(err error) bool {
	return errors.Is(err, nvml.ErrGPUIsLost) || errors.Is(err, nvml.ErrResetRequired)
}

// describeInstances lists the instances of a GPU in MIG mode. Many places for instances are usually
// empty, which is not an error.
func (g *nvmlGPU) describeInstances() {
	places, err := g.handle.MaxMIGDevices()
	g.answered(err)
	for i := range places {
		handle, err := g.handle.MIGDevice(i)
		if !g.answered(err) {
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

// describeInstance returns false for an instance without a UUID, because nothing can be run on it.
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
		m.GPUInstance = new(int(id))
	}
	if id, err := handle.ComputeInstanceID(); err == nil {
		m.ComputeInstance = new(int(id))
	}
	return m, true
}

// profile returns the end of the name, as in "NVIDIA H100 80GB HBM3 MIG 3g.40gb". If the name has
// no such end, the profile is composed in NVIDIA's way.
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

// listProcesses asks which processes compute on the GPU. In MIG mode only privileged users may ask
// the GPU itself, but everybody may ask its instances.
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
	g.answered(err)
	for _, p := range processes {
		q := gpu.Process{
			PID: int(p.PID), MIG: mig, MemoryBytes: p.UsedBytes, MemoryKnown: p.UsedKnown,
		}
		identify(&q, root)
		if q.Command == "" {
			name, _ := lib.ProcessName(p.PID) // "" on error
			q.Command = programName(name)
		}
		g.device.Processes = append(g.device.Processes, q)
	}
}

// identity returns s if it can stand in CUDA_VISIBLE_DEVICES, and "" if it cannot.
func identity(s, prefix string) string {
	if !strings.HasPrefix(s, prefix) || strings.ContainsAny(s, "?, ") {
		return ""
	}
	return s
}
