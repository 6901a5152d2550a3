//go:build linux && !nonvml && !gonvml

package probe

import (
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml"
)

// BenchmarkEightGPUs compares a discovery and a sample of eight GPUs with the library calls that
// they make, and with the same through a child that is already running.
func BenchmarkEightGPUs(b *testing.B) {
	o := install(b, eightGPUs())
	b.Run("library alone", func(b *testing.B) {
		lib, err := nvml.Open(o.Library)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			callLibrary(b, lib)
		}
	})
	b.Run("discover and sample", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p := newLocalProbe(o)
			if n := len(p.Inventory().Devices); n != 8 {
				b.Fatalf("%d devices in the inventory, want 8", n)
			}
			if n := len(p.Sample().Devices); n != 8 {
				b.Fatalf("%d devices in the sample, want 8", n)
			}
			p.Close()
		}
	})
	b.Run("sample", func(b *testing.B) {
		p := openProbe(b, o)
		p.Inventory()
		b.ReportAllocs()
		for b.Loop() {
			p.Sample()
		}
	})
	b.Run("sample through a child that listens for events", func(b *testing.B) {
		c, _ := listeningClient(b, o)
		ctx := within(b, long)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Sample(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sample through a child", func(b *testing.B) {
		c := realChild(b, o)
		ctx := within(b, long)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Sample(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("discover through a new child", func(b *testing.B) {
		ctx := within(b, long)
		for b.Loop() {
			c := realChild(b, o)
			if inv := DiscoverWith(ctx, c, o); inv.Source != gpu.SourceNVML {
				b.Fatal(inv.Reason)
			}
			c.Close()
		}
	})
}

// callLibrary makes the calls of a start, an inventory, a sample and a stop, and ignores what they
// return.
func callLibrary(b *testing.B, lib *nvml.Library) {
	if err := lib.Init(); err != nil {
		b.Fatal(err)
	}
	lib.DriverVersion()
	lib.NVMLVersion()
	lib.CUDADriverVersion()
	lib.DeviceCount()
	for i := range 8 {
		d, err := lib.Device(i)
		if err != nil {
			b.Fatal(err)
		}
		d.UUID()
		d.Name()
		d.PCI()
		d.MinorNumber()
		d.Memory()
		d.CPUAffinityWithinNUMA()
		d.ComputeMode()
		d.PersistenceMode()
		d.ECCMode()
		d.MIGMode()
		d.ComputeProcesses()
		d.UncorrectedECCErrors()
		d.RemappedRows()
		d.RetiredPagesPending()
		d.Fabric()
		d.RecoveryAction()
		d.Memory()
		d.Utilization()
		d.Temperature()
		d.PowerUsage()
		d.PowerLimit()
		d.Clock(nvml.ClockSM)
		d.Clock(nvml.ClockMemory)
		d.ComputeProcesses()
	}
	lib.DeviceCount()
	lib.Shutdown()
}
