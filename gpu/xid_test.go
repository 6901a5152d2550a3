package gpu_test

import (
	"slices"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// catalogue has NVIDIA's immediate actions (the column "Resolution Bucket (Immediate Action)"), as
// of the catalogue that goes up to XID 172, with the numbers of their rows. Rows that the catalogue
// marks as unused are left out.
var catalogue = map[string][]uint64{
	"RESTART_APP": {
		8, 11, 13, 25, 31, 32, 39, 40, 41, 60, 68, 69, 70, 71, 72, 75, 76, 77, 80, 82, 83, 84, 85,
		86, 88, 89, 94, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 126, 127, 128, 129, 130, 131,
		132, 133, 134, 135, 139,
	},
	"RESET_GPU":           {46, 62, 64, 95, 109, 110, 119, 120, 136, 140, 143, 155, 156, 158},
	"RESTART_BM":          {79},
	"RESTART_VM":          {151},
	"WORKFLOW_XID_48":     {48},
	"WORKFLOW_NVLINK_ERR": {74},
	"IGNORE": {
		37, 38, 43, 44, 63, 66, 67, 92, 93, 106, 107, 121, 137, 141, 152, 153, 157, 160, 161,
	},
	"WORKFLOW_XID_45":      {45},
	"CONTACT_SUPPORT":      {142},
	"CHECK_MECHANICALS":    {54},
	"UPDATE_SWFW":          {78},
	"CHECK_UVM":            {159},
	"XID_154":              {154},
	"WORKFLOW_NVLINK5_ERR": {144, 145, 146, 147, 148, 149, 150},
	"":                     {162, 163, 164, 165, 166, 167, 168, 169, 170, 171, 172},
}

// decoded has the actions of the catalogue's second table, "XID 144-150 Decode", each once.
var decoded = map[uint64][]string{
	144: {"IGNORE", "RESET_GPU"}, 145: {"IGNORE", "RESET_GPU", "XID_154_EVAL"},
	146: {"IGNORE", "RESET_GPU"}, 147: {"IGNORE"}, 148: {"IGNORE"}, 149: {"IGNORE", "RESET_GPU"},
	150: {"RESET_GPU"},
}

// exceptions are the XIDs that DescribeXID documents as such.
var exceptions = map[uint64]gpu.XIDClass{
	43: gpu.XIDApplication, 45: gpu.XIDApplication, 137: gpu.XIDApplication, 155: gpu.XIDOther,
}

// classOf returns the class that an action of the catalogue stands for.
func classOf(action string) gpu.XIDClass {
	switch action {
	case "RESTART_APP":
		return gpu.XIDApplication
	case "RESET_GPU", "RESTART_BM", "RESTART_VM", "WORKFLOW_XID_48", "WORKFLOW_NVLINK_ERR":
		return gpu.XIDFatal
	}
	return gpu.XIDOther
}

// want returns the class and the action of an XID, by the rows above. rows is false for a number
// that no row has.
func want(xid uint64) (class gpu.XIDClass, action string, rows bool) {
	class = gpu.XIDOther
	for a, numbers := range catalogue {
		if slices.Contains(numbers, xid) {
			class, action, rows = classOf(a), a, true
		}
	}
	if actions := decoded[xid]; len(actions) == 1 {
		class = classOf(actions[0])
	}
	if exception, ok := exceptions[xid]; ok {
		class = exception
	}
	return class, action, rows
}

func TestXIDClasses(t *testing.T) {
	const unknown = "unknown to this version"
	for xid := range uint64(1100) {
		want, action, rows := want(xid)
		class, meaning := gpu.DescribeXID(xid)
		if class != want {
			t.Errorf("XID %d (%s, %q) has the class %q, want %q", xid, meaning, action, class, want)
		}
		if known := rows || xid == gpu.XIDUnknownToNVML; known == (meaning == unknown) {
			t.Errorf("XID %d (%q) has the meaning %q", xid, action, meaning)
		}
	}
}

// TestXIDUnknownToNVML checks that the number that stands for an unknown XID is not taken for one
// that a later catalogue has.
func TestXIDUnknownToNVML(t *testing.T) {
	class, meaning := gpu.DescribeXID(999)
	if class != gpu.XIDOther || meaning != "an XID that NVML itself does not know" {
		t.Errorf("XID 999 is %q (%s)", meaning, class)
	}
}

// TestXIDApplicationsOfDevicePlugin checks that what NVIDIA's device plugin takes for errors of
// the application is never fatal here, except 109, whose row says RESET_GPU.
func TestXIDApplicationsOfDevicePlugin(t *testing.T) {
	for _, xid := range []uint64{13, 31, 43, 45, 68} {
		if class, _ := gpu.DescribeXID(xid); class != gpu.XIDApplication {
			t.Errorf("XID %d has the class %q, want %q", xid, class, gpu.XIDApplication)
		}
	}
}
