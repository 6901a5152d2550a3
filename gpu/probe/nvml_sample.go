//go:build linux && !nonvml

package probe

import (
	"github.com/gpulaunch/gpulaunch/gpu/nvml"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// figures fills in the sample of one device.
type figures struct{ *gpu.DeviceSample }

// sample appends the GPU's figures, and those of its MIG instances.
func (g *nvmlGPU) sample(to []gpu.DeviceSample) []gpu.DeviceSample {
	d := figures{&gpu.DeviceSample{Index: g.device.Index, UUID: g.device.UUID}}
	if !g.attached {
		d.Problem = g.device.Problem
		return append(to, *d.DeviceSample)
	}
	err := firstGone(
		d.readMemory(g.handle),
		d.readUtilization(g.handle),
		d.readTemperature(g.handle),
		d.readPower(g.handle),
		d.readClocks(g.handle),
		d.readProcesses(g.handle),
	)
	if err != nil {
		d.Problem = nvmlText(err)
	}
	to = append(to, *d.DeviceSample)
	for i, handle := range g.instances {
		to = append(to, g.sampleInstance(i, handle))
	}
	return to
}

// sampleInstance reads what NVML tells of a MIG instance: its memory and processes. The rest belongs to the whole GPU.
func (g *nvmlGPU) sampleInstance(i int, handle handle) gpu.DeviceSample {
	d := figures{&gpu.DeviceSample{Index: g.device.Index, UUID: g.device.MIGInstances[i].UUID, ParentUUID: g.device.UUID}}
	if err := firstGone(d.readMemory(handle), d.readProcesses(handle)); err != nil {
		d.Problem = nvmlText(err)
	}
	return *d.DeviceSample
}

// firstGone is the first error that means that the GPU is gone. The others just leave a figure out.
func firstGone(errs ...error) error {
	for _, err := range errs {
		if gone(err) {
			return err
		}
	}
	return nil
}

func (d figures) readMemory(h handle) error {
	m, err := h.Memory()
	if err != nil {
		return err
	}
	d.MemoryUsedBytes, d.MemoryTotalBytes = &m.Used, &m.Total
	return nil
}

func (d figures) readUtilization(h handle) error {
	gpu, memory, err := h.Utilization()
	if err != nil {
		return err
	}
	d.Utilization, d.MemoryUtilization = ratio(gpu), ratio(memory)
	return nil
}

// ratio is a share of 0 to 1, nil for what cannot be a percentage.
func ratio(percent uint32) *float64 {
	if percent > 100 {
		return nil
	}
	return pointer(float64(percent) / 100)
}

func (d figures) readTemperature(h handle) error {
	celsius, err := h.Temperature()
	if err != nil {
		return err
	}
	d.TemperatureCelsius = pointer(float64(celsius))
	return nil
}

func (d figures) readPower(h handle) error {
	used, usedErr := h.PowerUsage()
	if usedErr == nil {
		d.PowerWatts = pointer(float64(used) / 1000)
	}
	limit, limitErr := h.PowerLimit()
	if limitErr == nil {
		d.PowerLimitWatts = pointer(float64(limit) / 1000)
	}
	return firstGone(usedErr, limitErr)
}

func (d figures) readClocks(h handle) error {
	sm, smErr := h.Clock(nvml.ClockSM)
	if smErr == nil {
		d.SMClockHertz = pointer(float64(sm) * 1e6)
	}
	memory, memoryErr := h.Clock(nvml.ClockMemory)
	if memoryErr == nil {
		d.MemoryClockHertz = pointer(float64(memory) * 1e6)
	}
	return firstGone(smErr, memoryErr)
}

func (d figures) readProcesses(h handle) error {
	processes, err := h.ComputeProcesses()
	if err != nil {
		return err
	}
	for _, p := range processes {
		sample := gpu.ProcessSample{PID: int(p.PID)}
		if p.UsedKnown {
			sample.UsedBytes = pointer(p.UsedBytes)
		}
		d.Processes = append(d.Processes, sample)
	}
	return nil
}
