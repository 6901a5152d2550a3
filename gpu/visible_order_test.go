package gpu_test

import (
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/gputest"
)

// unlike returns a slow GPU, a fast one, and another slow one, in PCI order.
func unlike() gpu.Inventory {
	inv := gputest.Inventory(3)
	for i, cores := range []int{384, 6912, 384} {
		d := &inv.Devices[i]
		d.Name, d.Cores, d.MaxClockMHz = "NVIDIA T400", cores, 1425
		if cores > 1000 {
			d.Name = "NVIDIA A100"
		}
	}
	return inv
}

// speedless returns the inventory of a driver that does not tell how fast GPUs are.
func speedless(inv gpu.Inventory) gpu.Inventory {
	for i := range inv.Devices {
		inv.Devices[i].Cores = 0
	}
	return inv
}

// TestUnlikeCards checks that a list of indexes is warned about if it names other GPUs in PCI order
// than with the fastest first.
func TestUnlikeCards(t *testing.T) {
	u := gputest.UUID
	sameKind := gputest.Inventory(3)
	nameless := gputest.Inventory(3) // a lost GPU may have no name
	for i := range 3 {
		sameKind.Devices[i].Name, nameless.Devices[i].Name = "NVIDIA A100", "NVIDIA A100"
	}
	nameless.Devices[1].Name, nameless.Devices[1].Problem = "", "GPU is lost (code 15)"
	equal := unlike()
	for i := range equal.Devices {
		equal.Devices[i].Cores = 5000
	}
	const fastest, both = "by default CUDA counts the fastest GPU first", "CUDA_DEVICE_ORDER="
	for _, test := range []struct {
		about        string
		inv          gpu.Inventory
		value, order string
		units        string
		doubt        []string // parts of the only doubt; nil for none
	}{
		{"no order", unlike(), "0", "", "0", []string{"GPU 0 (0000:01:00.0), NVIDIA T400", fastest,
			"GPU 1 (0000:02:00.0), NVIDIA A100 may be meant; set CUDA_DEVICE_ORDER=PCI_BUS_ID"}},
		{"an unknown order", unlike(), "0", "FAST", "0", []string{fastest}},
		{"two of three", unlike(), "0,2", "", "0 2", []string{"GPU 0 (0000:01:00.0), NVIDIA T400",
			"GPU 1 (0000:02:00.0), NVIDIA A100"}},
		{"the same two in both orders", unlike(), "0,1", "", "0 1", nil},
		{"all", unlike(), "2,0,1", "", "2 0 1", nil},
		{"UUID", unlike(), u(0), "", u(0), nil},
		{"by bus", unlike(), "0", gpu.OrderPCI, "0", nil},
		{"speed unknown", speedless(unlike()), "0", "", "0", []string{fastest,
			"GPU 0 (0000:01:00.0), NVIDIA T400", "GPU 1 (0000:02:00.0), NVIDIA A100"}},
		{"equally fast", equal, "1", "", "1", []string{fastest, "NVIDIA A100", "NVIDIA T400"}},
		{"cards of one kind", sameKind, "0", "", "0", nil},
		{"one without a name", nameless, "0", "", "0", nil},

		{"fastest first", unlike(), "0", gpu.OrderFastestFirst, u(1), nil},
		{"fastest first, several", unlike(), "2,0", gpu.OrderFastestFirst, u(2) + " " + u(1), nil},
		{"fastest first, of one kind", sameKind, "0", gpu.OrderFastestFirst, "0", nil},
		{"fastest first, UUID", unlike(), u(0), gpu.OrderFastestFirst, u(0), nil},
		{"fastest first, speed unknown", speedless(unlike()), "0", gpu.OrderFastestFirst, "0",
			[]string{both + "FASTEST_FIRST: which of NVIDIA T400 and NVIDIA A100 is the fastest",
				"name GPUs by UUID"}},
	} {
		t.Run(test.about, func(t *testing.T) {
			v := test.inv.VisibleInOrder(test.value, true, test.order)
			checkUnits(t, v, test.units)
			checkDoubt(t, v, test.doubt)
			for i, d := range test.inv.Devices {
				if d.Index != i {
					t.Errorf("the inventory was changed: %+v", test.inv.Devices)
				}
			}
		})
	}
	v := unlike().VisibleInOrder("", false, gpu.OrderFastestFirst)
	checkUnits(t, v, u(1)+" "+u(0)+" "+u(2))
	checkUnits(t, unlike().Visible("", false), "0 1 2")
}

// checkDoubt fails the test unless there is one doubt with these parts, or none.
func checkDoubt(t *testing.T, v gpu.Visible, parts []string) {
	t.Helper()
	if len(v.Doubts) != min(len(parts), 1) {
		t.Fatalf("the doubts are %q, want %q", v.Doubts, parts)
	}
	for _, part := range parts {
		if !strings.Contains(v.Doubts[0], part) || strings.Count(v.Doubts[0], "; ") != 1 {
			t.Errorf("the doubt %q does not contain %q", v.Doubts[0], part)
		}
	}
}

// TestIgnoredText checks that text behind an index is warned about.
func TestIgnoredText(t *testing.T) {
	for value, test := range map[string]struct {
		units string
		doubt []string
	}{
		"3 4":      {"3", []string{`="3 4": CUDA reads "3 4" as 3 and ignores "4"; remove it`, "commas"}},
		"3;4":      {"3", []string{`reads "3;4" as 3 and ignores ";4"`}},
		"0,1 2":    {"0 1", []string{`reads "1 2" as 1`}},
		"1gpu":     {"1", []string{`ignores "gpu"`}},
		"0x2":      {"0", []string{`reads "0x2" as 0`}},
		"1.5":      {"1", []string{`ignores ".5"`}},
		"1 ,2\t":   {"1 2", nil},
		" 1, +2":   {"1 2", nil},
		"1,x 2":    {"1", nil}, // the reason says where CUDA stops
		"1:2,1":    {"", nil},
		"GPU-1 2":  {"", nil},
		"MIG-1; 2": {"", nil},
	} {
		v := gputest.Inventory(5).Visible(value, true)
		checkUnits(t, v, test.units)
		checkDoubt(t, v, test.doubt)
	}
}

// TestIntegratedGPU checks that a worker inherits the variable as it is, unless the user hides the
// GPU.
func TestIntegratedGPU(t *testing.T) {
	inv := gpu.Inventory{Source: gpu.SourceIntegrated,
		Devices: []gpu.Device{{Name: "NVIDIA Jetson", Integrated: true}}}
	units := map[string]int{"0": 1, "GPU-1": 1, "": 0, "-1": 0, "1": 0}
	for value, want := range units {
		v := inv.Visible(value, true)
		if len(v.Units) != want || want > 0 && v.Units[0].ID != "" || want == 0 && v.Reason == "" {
			t.Errorf("%q: %+v", value, v)
		}
	}
	if v := inv.Visible("", false); len(v.Units) != 1 || v.Units[0].ID != "" {
		t.Errorf("not set: %+v", v)
	}
}
