//go:build linux && !nonvml

package probe

import (
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml"
)

// sampleReader fills in the sample of one device. Its methods leave out what the device does not
// say.
type sampleReader struct{ *gpu.DeviceSample }

// sample appends the sample of the GPU and those of its MIG instances.
func (g *nvmlGPU) sample(to []gpu.DeviceSample) []gpu.DeviceSample {
	d := sampleReader{&gpu.DeviceSample{Index: g.device.Index, UUID: g.device.UUID}}
	if !g.attached {
		d.Problem = g.device.Problem
		return append(to, *d.DeviceSample)
	}
	err := firstGoneError(
		d.readMemory(g.handle),
		d.readUtilization(g.handle),
		d.readTemperature(g.handle),
		d.readPower(g.handle),
		d.readClocks(g.handle),
		d.readProcesses(g.handle),
	)
	if err != nil {
		d.Problem = errorText(err)
	}
	to = append(to, *d.DeviceSample)
	for i, handle := range g.instances {
		to = append(to, g.sampleInstance(i, handle))
	}
	return to
}

// sampleInstance reads what NVML says about a MIG instance, which is its memory and its processes.
// The other figures exist only for the whole GPU.
func (g *nvmlGPU) sampleInstance(i int, handle handle) gpu.DeviceSample {
	d := sampleReader{&gpu.DeviceSample{
		Index: g.device.Index, UUID: g.device.MIGInstances[i].UUID, ParentUUID: g.device.UUID,
	}}
	if err := firstGoneError(d.readMemory(handle), d.readProcesses(handle)); err != nil {
		d.Problem = errorText(err)
	}
	return *d.DeviceSample
}

// firstGoneError returns the first error that means that the GPU is gone, or nil. Other errors only
// leave a figure out.
func firstGoneError(errs ...error) error {
	for _, err := range errs {
		if meansGone(err) {
			return err
		}
	}
	return nil
}

func (d sampleReader) readMemory(h handle) error {
	m, err := h.Memory()
	if err != nil {
		return err
	}
	d.MemoryUsedBytes, d.MemoryTotalBytes = &m.Used, &m.Total
	return nil
}

func (d sampleReader) readUtilization(h handle) error {
	gpu, memory, err := h.Utilization()
	if err != nil {
		return err
	}
	d.Utilization, d.MemoryUtilization = ratio(gpu), ratio(memory)
	return nil
}

// ratio converts a percentage into a share from 0 to 1. It returns nil for more than 100 percent.
func ratio(percent uint32) *float64 {
	if percent > 100 {
		return nil
	}
	return new(float64(percent) / 100)
}

func (d sampleReader) readTemperature(h handle) error {
	celsius, err := h.Temperature()
	if err != nil {
		return err
	}
	d.TemperatureCelsius = new(float64(celsius))
	return nil
}

func (d sampleReader) readPower(h handle) error {
	used, usedErr := h.PowerUsage()
	if usedErr == nil {
		d.PowerWatts = new(float64(used) / 1000)
	}
	limit, limitErr := h.PowerLimit()
	if limitErr == nil {
		d.PowerLimitWatts = new(float64(limit) / 1000)
	}
	return firstGoneError(usedErr, limitErr)
}

func (d sampleReader) readClocks(h handle) error {
	sm, smErr := h.Clock(nvml.ClockSM)
	if smErr == nil {
		d.SMClockHertz = new(float64(sm) * 1e6)
	}
	memory, memoryErr := h.Clock(nvml.ClockMemory)
	if memoryErr == nil {
		d.MemoryClockHertz = new(float64(memory) * 1e6)
	}
	return firstGoneError(smErr, memoryErr)
}

func (d sampleReader) readProcesses(h handle) error {
	processes, err := h.ComputeProcesses()
	if err != nil {
		return err
	}
	for _, p := range processes {
		sample := gpu.ProcessSample{PID: int(p.PID)}
		if p.UsedKnown {
			sample.UsedBytes = new(p.UsedBytes)
		}
		d.Processes = append(d.Processes, sample)
	}
	return nil
}
