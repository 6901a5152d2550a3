//go:build linux && !nonvml && !gonvml

package probe

import (
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml"
)

// BenchmarkEightGPUs compares one discovery and one sample of eight GPUs with the bare calls of the library that they
// are made of, and with the same through a child that is already there.
func BenchmarkEightGPUs(b *testing.B) {
	o := installed(b, eight())
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
			p := NewProbe(o)
			if len(p.Inventory().Devices) != 8 || len(p.Sample().Devices) != 8 {
				b.Fatal("not eight")
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
		c, _ := listening(b, o)
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

// callLibrary makes the calls of a start, an inventory, a sample and a stop, and keeps nothing.
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
