package doctor

import (
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// FuzzVersions checks that the comparison of the library's version with that of the kernel module
// ends in one result of one line, and never faults two that are the same.
func FuzzVersions(f *testing.F) {
	f.Add("550.54.15", "12.550.54.15", "12.4")
	f.Add("580.65.06", "13.580.65.06", "")
	f.Add("", "12.550.54.15", "12.4")
	f.Add("550.54.15", "", "")
	f.Add("550", "550", "NaN")
	f.Add("...", "....", "\x00")
	f.Fuzz(func(t *testing.T, module, nvml, cuda string) {
		facts := Facts{Module: module}
		facts.Inventory = gpu.Inventory{Source: gpu.SourceNVML, NVMLVersion: nvml,
			CUDAVersion: cuda, Devices: []gpu.Device{{UUID: "GPU-0"}}}
		results := versions(facts)
		if len(results) != 1 {
			t.Fatalf("%q, %q: %+v", module, nvml, results)
		}
		if _, library, _ := strings.Cut(nvml, "."); library == module && results[0].Status == Fail {
			t.Errorf("%q and %q are the same: %+v", module, nvml, results[0])
		}
		if module == "" && results[0].Status != Unknown {
			t.Errorf("without the module's version: %+v", results[0])
		}
	})
}
