//go:build linux && !nonvml

package nvml

import (
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// BenchmarkDiscovery measures a discovery of eight GPUs. To compare it with, "floor" makes the
// same number of calls to one function that does nothing but answer.
func BenchmarkDiscovery(b *testing.B) {
	lib := start(b, eightGPUs())
	b.Run("open", func(b *testing.B) {
		path := nvmltest.Install(b, eightGPUs())
		for b.Loop() {
			startLibrary(b, path)
		}
	})
	const callsPerGPU = 13
	b.Run("discover", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			discover(b, lib)
		}
		reportPerCall(b, 8*callsPerGPU)
	})
	b.Run("floor", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for range 8 * callsPerGPU {
				if _, err := lib.DeviceCount(); err != nil {
					b.Fatal(err)
				}
			}
		}
		reportPerCall(b, 8*callsPerGPU)
	})
}

// reportPerCall reports the time for each of the calls that an iteration makes.
func reportPerCall(b *testing.B, calls int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*calls), "ns/call")
}

// discover makes 13 calls for each GPU.
func discover(b *testing.B, lib *Library) {
	for i := range 8 {
		d := device(b, lib, i)
		var errs [12]error
		_, errs[0] = d.Name()
		_, errs[1] = d.UUID()
		_, errs[2] = d.PCI()
		_, errs[3] = d.MinorNumber()
		_, errs[4] = d.Memory()
		_, _, errs[5] = d.Utilization()
		_, errs[6] = d.Temperature()
		_, errs[7] = d.PowerUsage()
		_, errs[8] = d.ComputeMode()
		_, _, errs[9] = d.MIGMode()
		_, errs[10] = d.ComputeProcesses()
		_, errs[11] = d.CPUAffinityWithinNUMA()
		for _, err := range errs {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
