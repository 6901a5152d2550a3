package gpu_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/gputest"
)

func TestRefreshed(t *testing.T) {
	busy := gpu.Finding{Code: gpu.CodeExclusiveAndBusy, Text: "process 1 uses the GPU"}
	late := gpu.Finding{Code: gpu.CodeExclusiveAndBusy, Text: "process 2 uses the GPU"}
	ecc := gpu.Finding{Code: gpu.CodeECCUncorrected}
	lost := gpu.Finding{Code: gpu.CodeLost, Text: "GPU is lost (code 15)"}
	before := gputest.Inventory(6)
	before.Devices[2].Findings = []gpu.Finding{busy}
	before.Devices[2].Processes = []gpu.Process{{PID: 1}}
	before.Devices[5].UUID, before.Devices[5].PCIBusID = "", ""
	later := gputest.Inventory(6)
	later.Devices[0].Findings = []gpu.Finding{ecc}
	later.Devices[1].Problem, later.Devices[1].UUID = lost.Text, "" // it still says its address
	later.Devices[1].Findings = []gpu.Finding{lost}
	later.Devices[2].Findings = []gpu.Finding{late}
	later.Devices[2].Processes = []gpu.Process{{PID: 2}}
	later.Devices[3].MIG, later.Devices[3].MIGInstances = true, []gpu.MIGInstance{{UUID: "MIG-1"}}
	later.Devices = later.Devices[:4] // GPU 4 is not there any more
	for i := range later.Devices {
		later.Devices[i].Index = 3 - i
	}

	want := gputest.Inventory(6)
	want.Devices[0].Findings = []gpu.Finding{ecc}
	want.Devices[1].Problem, want.Devices[1].Findings = lost.Text, []gpu.Finding{lost}
	want.Devices[2].Findings = []gpu.Finding{busy}
	want.Devices[2].Processes = []gpu.Process{{PID: 1}}
	want.Devices[3].MIG, want.Devices[3].MIGInstances = true, []gpu.MIGInstance{{UUID: "MIG-1"}}
	want.Devices[4].Problem = "NVML no longer lists it"
	want.Devices[4].Findings = []gpu.Finding{{Code: gpu.CodeLost, Text: "NVML no longer lists it",
		Remedy: gpu.RemedyLost}}
	want.Devices[5].UUID, want.Devices[5].PCIBusID = "", "" // nobody can tell
	untouched := before.Devices[1]
	if diff := cmp.Diff(want, before.Refreshed(later), cmp.Transformer("", emptyAsNil)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(untouched, before.Devices[1]); diff != "" {
		t.Errorf("the inventory was changed:\n%s", diff)
	}

	// One that is lost may not even say which one it is.
	later.Devices = append(later.Devices, gpu.Device{Problem: lost.Text,
		Findings: []gpu.Finding{lost}})
	if got := before.Refreshed(later).Devices[4]; got.Problem != lost.Text ||
		got.UUID != gputest.UUID(4) {
		t.Errorf("%+v", got)
	}
}

// emptyAsNil makes an empty list of findings compare as none.
func emptyAsNil(list []gpu.Finding) []gpu.Finding {
	if len(list) == 0 {
		return nil
	}
	return list
}
