package gpu_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/gputest"
)

// withLost returns n GPUs of which one is lost.
func withLost(n, lost int) gpu.Inventory {
	inv := gputest.Inventory(n)
	inv.Devices[lost].Problem = "GPU is lost (code 15)"
	return inv
}

// withMIG returns n GPUs of which one is in MIG mode. The instances are called MIG-0 and so on.
func withMIG(n, split, instances int) gpu.Inventory {
	inv := gputest.Inventory(n)
	d := &inv.Devices[split]
	d.MIG = true
	for i := range instances {
		d.MIGInstances = append(d.MIGInstances, gpu.MIGInstance{
			UUID: fmt.Sprintf("MIG-%d", i), GPUInstance: new(i + 1), ComputeInstance: new(0),
		})
	}
	if instances == 0 {
		d.Problem = gpu.ProblemNoInstance
	}
	return inv
}

// checkUnits fails the test unless the visible units have the IDs, which are separated by blanks.
func checkUnits(t *testing.T, v gpu.Visible, want string) {
	t.Helper()
	if got := gputest.IDs(v); got != want {
		t.Errorf("the units are %q, want %q", got, want)
	}
}

func TestVisible(t *testing.T) {
	none, one, two, four := gputest.Inventory(0), gputest.Inventory(1), gputest.Inventory(2),
		gputest.Inventory(4)
	split, lost := withMIG(2, 1, 3), withLost(4, 1)
	unknown := gpu.Inventory{Devices: []gpu.Device{{}}}
	withoutNVML := gpu.Inventory{Source: gpu.SourceDriver}
	const large = "99999999999999999999999"
	long := strings.Repeat("x", 500)
	u := gputest.UUID
	for _, test := range []struct {
		about string
		inv   gpu.Inventory
		value string
		units string
		cut   string
		why   string // a part of Reason, or "" if there is none
	}{
		{"one", four, "2", "2", "", ""},
		{"order is kept", four, "3,0,2", "3 0 2", "", ""},
		{"text after digits", four, "1gpu2,2ampere", "1 2", "", ""},
		{"hexadecimal is index 0", four, "0x2", "0", "", ""},
		{"blanks and signs", four, " 1,\t+2 , -0", "1 2 0", "", ""},
		{"leading zeros", four, "003", "3", "", ""},
		{"empty", four, "", "", "", "hides every GPU"},
		{"blank", four, "  ", "", "", "hides every GPU"},
		{"minus one", four, "-1", "", "", "hides every GPU"},
		{"minus one first", four, "-1,0", "", "-1", "negative"},
		{"minus one ends the list", four, "2,-1,0", "2", "-1", "negative"},
		{"duplicate after the end", four, "2,-1,2", "2", "-1", "negative"},
		{"out of range", four, "0,4,1", "0", "4", "only the GPUs 0 to 3"},
		{"out of range on one GPU", one, "0,1", "0", "1", "only GPU 0"},
		{"no GPU at all", none, "0", "", "0", "no GPU"},
		{"larger than an integer", two, "0," + large + ",1", "0", large, "0 to 1"},
		{"duplicate", four, "0,1,0", "", "", "index 0 is given twice"},
		{"duplicate in another form", four, "1,01", "", "", "index 1 is given twice"},
		{"duplicate after a missing index", two, "0,7,0", "", "", "index 0 is given twice"},
		{"empty entry", four, "0,,1", "0", "", "stops reading at \"\""},
		{"word", four, "0,all", "0", "all", "not an index"},
		{"sign alone", four, "0,+,1", "0", "+", "not an index"},
		{"UUID in a list of indexes", four, "0," + u(1), "0", u(1), "not an index"},

		{"UUID", four, u(2), u(2), "", ""},
		{"shortened UUIDs", four, "GPU-3,GPU-00", u(3) + " " + u(0), "", ""},
		{"ambiguous UUID", four, "GPU-2,GPU-,GPU-1", u(2), "GPU-", "4 GPUs have a UUID"},
		{"shortest UUID", one, "GPU-", u(0), "", ""},
		{"no such UUID", four, "GPU-1,GPU-x,GPU-2", u(1), "GPU-x", "no GPU has this UUID"},
		{"machine with unknown UUID", unknown, "GPU-1", "", "GPU-1", "unknown UUIDs: 1"},
		{"index in a list of UUIDs", four, "GPU-1,2", u(1), "2", "does not begin with GPU-"},
		{"blank before a UUID", four, "GPU-1, GPU-2", u(1), " GPU-2", "does not begin with GPU-"},
		{"duplicate text", four, "GPU-1,GPU-2,GPU-1", "", "", "second time"},
		{"duplicate text after no such UUID", four, "GPU-1,GPU-x,GPU-1", "", "", "second time"},
		{"duplicate device", four, "GPU-1," + u(1), "", "", "second time"},
		{"lower case", four, "gpu-1", "", "gpu-1", "not an index"},

		{"MIG by UUID", split, "MIG-2,MIG-0", "MIG-2 MIG-0", "", ""},
		{"shortened MIG", split, "MIG-", "", "MIG-", "no such MIG instance"},
		{"legacy MIG", split, "MIG-" + u(1) + "/2/0", "MIG-1", "", ""},
		{
			"legacy MIG of another GPU", split,
			"MIG-" + u(0) + "/2/0", "", "MIG-" + u(0) + "/2/0", "no such MIG",
		},
		{"two names of an instance", split, "MIG-1,MIG-" + u(1) + "/2/0", "", "", "second time"},
		{"index of a split GPU", split, "1,0", "MIG-0 0", "", ""},
		{"UUID of a split GPU", split, u(1), "MIG-0", "", ""},
		{"MIG without NVML", withoutNVML, "MIG-1", "", "MIG-1", "only NVML knows MIG instances"},
		{"GPU in a list of MIG", split, "MIG-0,GPU-0", "MIG-0", "GPU-0",
			"does not begin with MIG-"},

		{"indexes count broken GPUs", lost, "2,3", "2 3", "", ""},
		{"a broken GPU is left out", lost, "0,1,2", "0 2", "", ""},
		{"long values are shortened", one, long, "", long, "…"},
	} {
		t.Run(test.about, func(t *testing.T) {
			v := test.inv.Visible(test.value, true)
			checkUnits(t, v, test.units)
			if v.Cut != test.cut {
				t.Errorf("cut at %q, want %q", v.Cut, test.cut)
			}
			if test.why == "" && v.Reason != "" {
				t.Errorf("the reason is %q, want none", v.Reason)
			}
			if test.why != "" && !strings.Contains(v.Reason, test.why) {
				t.Errorf("the reason %q does not contain %q", v.Reason, test.why)
			}
			if !v.Set || v.Value != test.value {
				t.Errorf("Set and Value are %v, %q; want true, %q", v.Set, v.Value, test.value)
			}
		})
	}
}

func TestVisibleUnset(t *testing.T) {
	u := gputest.UUID
	unknown := withLost(3, 1)
	unknown.Devices[2].UUID = ""
	for _, test := range []struct {
		about    string
		inv      gpu.Inventory
		units    string
		unusable int
	}{
		{"no GPU", gputest.Inventory(0), "", 0},
		{"by index", gputest.Inventory(3), "0 1 2", 0},
		{"a broken GPU makes indexes uncertain", withLost(3, 1), u(0) + " " + u(2), 1},
		{"an unknown UUID leaves the index", unknown, u(0) + " 2", 1},
		{"each instance", withMIG(2, 0, 2), "MIG-0 MIG-1 " + u(1), 0},
		{"no instance", withMIG(2, 0, 0), u(1), 1},
	} {
		t.Run(test.about, func(t *testing.T) {
			v := test.inv.Visible("ignored", false)
			checkUnits(t, v, test.units)
			if n := len(v.Unusable); n != test.unusable {
				t.Errorf("%d GPUs are unusable, want %d: %+v", n, test.unusable, v.Unusable)
			}
			if v.Reason != "" {
				t.Errorf("the reason is %q, want none", v.Reason)
			}
			if v.Set {
				t.Error("Set is true")
			}
		})
	}
}

func TestVisibleDevices(t *testing.T) {
	units := withMIG(2, 1, 2).Visible("MIG-1", true).Units
	if len(units) != 1 || units[0].Instance == nil {
		t.Fatalf("the units are %+v, want one instance", units)
	}
	if i := units[0].Device.Index; i != 1 {
		t.Errorf("the instance is a part of GPU %d, want GPU 1", i)
	}
	if got := units[0].Instance.UUID; got != "MIG-1" {
		t.Errorf("the instance is %q, want MIG-1", got)
	}
	unusable := withLost(2, 1).Visible("1", true).Unusable
	if len(unusable) != 1 || unusable[0].Index != 1 {
		t.Errorf("unusable are %+v, want GPU 1", unusable)
	}
	withoutInstance := gputest.Inventory(1)
	withoutInstance.Devices[0].MIG = true // the inventory says nothing of a problem
	v := withoutInstance.Visible("0", true)
	checkUnits(t, v, "")
	if got := v.Unusable[0].Problem; got != gpu.ProblemNoInstance {
		t.Errorf("the problem is %q, want %q", got, gpu.ProblemNoInstance)
	}
}

func FuzzVisible(f *testing.F) {
	for _, seed := range []string{
		"", "-1", "0,1", "0,0", "GPU-0,GPU-1", "MIG-0,MIG-" + gputest.UUID(1) + "/1/0", " 1,+2",
		"1\n2", "GPU-,\xff",
	} {
		f.Add(seed)
	}
	machines := []gpu.Inventory{
		gputest.Inventory(0), gputest.Inventory(4), withLost(4, 2), withMIG(3, 1, 2),
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, inv := range machines {
			v := inv.Visible(value, true)
			seen := map[string]bool{}
			for _, u := range v.Units {
				if u.ID == "" {
					t.Errorf("%q: a unit has no ID: %+v", value, u)
				}
				if seen[u.ID] {
					t.Errorf("%q: the unit %q is visible twice", value, u.ID)
				}
				seen[u.ID] = true
				if !u.Device.Usable() {
					t.Errorf("%q: the unit %q is not usable", value, u.ID)
				}
				if u.Device.MIG != (u.Instance != nil) {
					t.Errorf("%q: a split GPU is visible as a whole: %+v", value, u)
				}
			}
			if strings.ContainsAny(v.Reason, "\n\r") {
				t.Errorf("%q: the reason is not one line: %q", value, v.Reason)
			}
			if v.Cut != "" && v.Reason == "" {
				t.Errorf("%q: there is a cut without a reason", value)
			}
			checkReadAgain(t, inv, v)
		}
	})
}

// checkReadAgain checks that the IDs of whole GPUs, read as a value of the variable, give the same
// units again. This is what happens in a worker.
func checkReadAgain(t *testing.T, inv gpu.Inventory, v gpu.Visible) {
	t.Helper()
	if len(v.Unusable) > 0 || len(v.Units) == 0 {
		return
	}
	var ids []string
	for _, u := range v.Units {
		if u.Instance != nil {
			return
		}
		ids = append(ids, u.ID)
	}
	again := gputest.IDs(inv.Visible(strings.Join(ids, ","), true))
	if want := gputest.IDs(v); again != want {
		t.Errorf("%q gives %q, and that gives %q", v.Value, want, again)
	}
}
