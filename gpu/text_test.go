package gpu_test

import (
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
)

func TestDeviceLabel(t *testing.T) {
	for want, d := range map[string]gpu.Device{
		"GPU 3 (0000:1b:00.0)": {Index: 3, PCIBusID: "0000:1b:00.0", Name: "H100", UUID: "GPU-1"},
		"GPU 3":                {Index: 3},
	} {
		if got := d.Label(); got != want {
			t.Errorf("%+v has the label %q, want %q", d, got, want)
		}
	}
}

func TestProcessString(t *testing.T) {
	for want, p := range map[string]gpu.Process{
		"process 42": {PID: 42},
		"process 42 (python3 of alice, 3.0 GiB)": {
			PID: 42, Command: "python3", User: "alice", MemoryBytes: 3 << 30, MemoryKnown: true,
		},
		"process 42 (python3 of alice)": {PID: 42, Command: "python3", User: "alice"},
		"process 42 (python3)":          {PID: 42, Command: "python3", MemoryBytes: 3 << 30},
		"process 42 (1000)":             {PID: 42, User: "1000"},
		"process 42 (0 MiB)":            {PID: 42, MemoryKnown: true},
		"process 42 (1023 MiB)":         {PID: 42, MemoryBytes: 1<<30 - 1, MemoryKnown: true},
		"process 42 (1.0 GiB)":          {PID: 42, MemoryBytes: 1 << 30, MemoryKnown: true},
		"process 42 (512 MiB)":          {PID: 42, MemoryBytes: 512 << 20, MemoryKnown: true},
	} {
		if got := p.String(); got != want {
			t.Errorf("%#v is written as %q, want %q", p, got, want)
		}
	}
}
