package gpu_test

import (
	"slices"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// TestXIDClasses compares the classes with the immediate actions in NVIDIA's catalogue, which are
// copied here as lists of XIDs.
func TestXIDClasses(t *testing.T) {
	restartApp := []uint64{
		8, 11, 13, 31, 32, 39, 40, 41, 60, 68, 69, 70, 71, 72, 75, 76, 77, 80, 82, 83, 84, 85, 86,
		88, 89, 94, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 126, 127, 128, 129, 130, 131,
		132, 133, 134, 135, 139,
	}
	reset := []uint64{
		46, 48, 62, 64, 74, 79, 95, 109, 110, 119, 120, 136, 140, 143, 151, 155, 156, 158,
	}
	ignore := []uint64{
		37, 38, 43, 44, 45, 63, 66, 67, 92, 93, 106, 107, 121, 137, 141, 152, 153, 154, 157, 160,
		161,
	}
	exceptions := map[uint64]gpu.XIDClass{
		43: gpu.XIDApplication, 45: gpu.XIDApplication, 109: gpu.XIDApplication,
		137: gpu.XIDApplication, 155: gpu.XIDOther,
	}
	inCatalogue := slices.Concat(restartApp, reset, ignore)
	for xid := range uint64(1100) {
		want := gpu.XIDOther
		switch {
		case slices.Contains(restartApp, xid):
			want = gpu.XIDApplication
		case slices.Contains(reset, xid):
			want = gpu.XIDFatal
		}
		if class, ok := exceptions[xid]; ok {
			want = class
		}
		class, meaning := gpu.DescribeXID(xid)
		if class != want {
			t.Errorf("XID %d (%s) has the class %q, want %q", xid, meaning, class, want)
		}
		if meaning == "" {
			t.Errorf("XID %d has no meaning", xid)
		}
		if slices.Contains(inCatalogue, xid) && meaning == "not in NVIDIA's catalogue" {
			t.Errorf("XID %d is in the catalogue, but its meaning is %q", xid, meaning)
		}
	}
}

// TestXIDApplicationsOfDevicePlugin checks that what NVIDIA's device plugin takes for errors of
// the application is never fatal here.
func TestXIDApplicationsOfDevicePlugin(t *testing.T) {
	for _, xid := range []uint64{13, 31, 43, 45, 68, 109} {
		if class, _ := gpu.DescribeXID(xid); class != gpu.XIDApplication {
			t.Errorf("XID %d has the class %q, want %q", xid, class, gpu.XIDApplication)
		}
	}
}
