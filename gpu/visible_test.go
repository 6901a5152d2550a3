package gpu_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/gputest"
)

// broken is a machine with a lost GPU.
func broken(n, lost int) gpu.Inventory {
	inv := gputest.Inventory(n)
	inv.Devices[lost].Problem = "GPU is lost (code 15)"
	return inv
}

// split is a machine with a GPU in MIG mode, with as many instances as asked for.
func split(n, parent, instances int) gpu.Inventory {
	inv := gputest.Inventory(n)
	d := &inv.Devices[parent]
	d.MIG = true
	for i := range instances {
		gi, ci := i+1, 0
		d.MIGInstances = append(d.MIGInstances, gpu.MIGInstance{UUID: fmt.Sprintf("MIG-%d", i), GPUInstance: &gi, ComputeInstance: &ci})
	}
	if instances == 0 {
		d.Problem = gpu.ProblemNoInstance
	}
	return inv
}

func TestVisible(t *testing.T) {
	u := gputest.UUID
	for _, test := range []struct {
		about string
		inv   gpu.Inventory
		value string
		units string
		cut   string
		why   string // part of Reason; "" for none
	}{
		{"one", gputest.Inventory(4), "2", "2", "", ""},
		{"order is kept", gputest.Inventory(4), "3,0,2", "3 0 2", "", ""},
		{"text behind digits", gputest.Inventory(4), "1gpu2,2ampere", "1 2", "", ""},
		{"hexadecimal is index 0", gputest.Inventory(4), "0x2", "0", "", ""},
		{"blanks and signs", gputest.Inventory(4), " 1,\t+2 , -0", "1 2 0", "", ""},
		{"leading zeros", gputest.Inventory(4), "003", "3", "", ""},
		{"empty", gputest.Inventory(4), "", "", "", "hides every GPU"},
		{"blank", gputest.Inventory(4), "  ", "", "", "hides every GPU"},
		{"minus one", gputest.Inventory(4), "-1", "", "", "hides every GPU"},
		{"minus one first", gputest.Inventory(4), "-1,0", "", "-1", "negative"},
		{"minus one ends the list", gputest.Inventory(4), "2,-1,0", "2", "-1", "negative"},
		{"no duplicate behind the end", gputest.Inventory(4), "2,-1,2", "2", "-1", "negative"},
		{"out of range", gputest.Inventory(4), "0,4,1", "0", "4", "only the GPUs 0 to 3"},
		{"out of range on one GPU", gputest.Inventory(1), "0,1", "0", "1", "only GPU 0"},
		{"no GPU at all", gputest.Inventory(0), "0", "", "0", "no GPU"},
		{"more digits than an integer has", gputest.Inventory(2), "0,99999999999999999999999,1", "0", "99999999999999999999999", "0 to 1"},
		{"duplicate", gputest.Inventory(4), "0,1,0", "", "", "index 0 is given twice"},
		{"duplicate in another spelling", gputest.Inventory(4), "1,01", "", "", "index 1 is given twice"},
		{"duplicate behind a missing index", gputest.Inventory(2), "0,7,0", "", "", "index 0 is given twice"},
		{"empty entry", gputest.Inventory(4), "0,,1", "0", "", "stops reading at \"\""},
		{"word", gputest.Inventory(4), "0,all", "0", "all", "not an index"},
		{"sign alone", gputest.Inventory(4), "0,+,1", "0", "+", "not an index"},
		{"UUID in a list of indexes", gputest.Inventory(4), "0," + u(1), "0", u(1), "not an index"},

		{"UUID", gputest.Inventory(4), u(2), u(2), "", ""},
		{"prefixes become whole", gputest.Inventory(4), "GPU-3,GPU-00", u(3) + " " + u(0), "", ""},
		{"ambiguous prefix", gputest.Inventory(4), "GPU-2,GPU-,GPU-1", u(2), "GPU-", "4 GPUs have a UUID"},
		{"the shortest prefix there is", gputest.Inventory(1), "GPU-", u(0), "", ""},
		{"unknown UUID", gputest.Inventory(4), "GPU-1,GPU-x,GPU-2", u(1), "GPU-x", "no GPU has this UUID"},
		{"unknown UUIDs in the machine", gpu.Inventory{Devices: []gpu.Device{{}}}, "GPU-1", "", "GPU-1", "UUIDs of 1 are unknown"},
		{"index in a list of UUIDs", gputest.Inventory(4), "GPU-1,2", u(1), "2", "does not begin with GPU-"},
		{"blank before a UUID", gputest.Inventory(4), "GPU-1, GPU-2", u(1), " GPU-2", "does not begin with GPU-"},
		{"duplicate text", gputest.Inventory(4), "GPU-1,GPU-2,GPU-1", "", "", "second time"},
		{"duplicate text behind an unknown one", gputest.Inventory(4), "GPU-1,GPU-x,GPU-1", "", "", "second time"},
		{"duplicate device", gputest.Inventory(4), "GPU-1," + u(1), "", "", "second time"},
		{"lower case is no UUID", gputest.Inventory(4), "gpu-1", "", "gpu-1", "not an index"},

		{"MIG by UUID", split(2, 1, 3), "MIG-2,MIG-0", "MIG-2 MIG-0", "", ""},
		{"MIG takes no prefix", split(2, 1, 3), "MIG-", "", "MIG-", "no such MIG instance"},
		{"legacy MIG", split(2, 1, 3), "MIG-" + u(1) + "/2/0", "MIG-1", "", ""},
		{"legacy MIG of another GPU", split(2, 1, 3), "MIG-" + u(0) + "/2/0", "", "MIG-" + u(0) + "/2/0", "no such MIG"},
		{"one instance by two names", split(2, 1, 3), "MIG-1,MIG-" + u(1) + "/2/0", "", "", "second time"},
		{"index of a split GPU", split(2, 1, 3), "1,0", "MIG-0 0", "", ""},
		{"UUID of a split GPU", split(2, 1, 3), u(1), "MIG-0", "", ""},
		{"MIG without NVML", gpu.Inventory{Source: gpu.SourceDriver}, "MIG-1", "", "MIG-1", "known to NVML alone"},
		{"GPU in a list of MIG", split(2, 1, 3), "MIG-0,GPU-0", "MIG-0", "GPU-0", "does not begin with MIG-"},

		{"given indexes count broken GPUs", broken(4, 1), "2,3", "2 3", "", ""},
		{"a broken one is dropped", broken(4, 1), "0,1,2", "0 2", "", ""},
		{"long values are shortened", gputest.Inventory(1), strings.Repeat("x", 500), "", strings.Repeat("x", 500), "…"},
	} {
		t.Run(test.about, func(t *testing.T) {
			v := test.inv.Visible(test.value, true)
			if got := gputest.IDs(v); got != test.units {
				t.Errorf("units %q, want %q", got, test.units)
			}
			if v.Cut != test.cut {
				t.Errorf("cut at %q, want %q", v.Cut, test.cut)
			}
			if (v.Reason == "") != (test.why == "") || !strings.Contains(v.Reason, test.why) {
				t.Errorf("reason %q, want it to contain %q", v.Reason, test.why)
			}
			if !v.Set || v.Value != test.value {
				t.Errorf("the variable is not told: %+v", v)
			}
		})
	}
}

func TestVisibleUnset(t *testing.T) {
	unknown := broken(3, 1)
	unknown.Devices[2].UUID = ""
	for _, test := range []struct {
		about    string
		inv      gpu.Inventory
		units    string
		unusable int
	}{
		{"no GPU", gputest.Inventory(0), "", 0},
		{"by index", gputest.Inventory(3), "0 1 2", 0},
		{"a broken GPU makes indexes uncertain", broken(3, 1), gputest.UUID(0) + " " + gputest.UUID(2), 1},
		{"an unknown UUID leaves the index", unknown, gputest.UUID(0) + " 2", 1},
		{"each instance", split(2, 0, 2), "MIG-0 MIG-1 " + gputest.UUID(1), 0},
		{"no instance", split(2, 0, 0), gputest.UUID(1), 1},
	} {
		t.Run(test.about, func(t *testing.T) {
			v := test.inv.Visible("ignored", false)
			if got := gputest.IDs(v); got != test.units {
				t.Errorf("units %q, want %q", got, test.units)
			}
			if len(v.Unusable) != test.unusable {
				t.Errorf("unusable %v, want %d", v.Unusable, test.unusable)
			}
			if v.Reason != "" || v.Set {
				t.Errorf("an unset variable hides nothing: %+v", v)
			}
		})
	}
}

func TestVisibleTellsParents(t *testing.T) {
	v := split(2, 1, 2).Visible("MIG-1", true)
	if len(v.Units) != 1 || v.Units[0].Device.Index != 1 || v.Units[0].Instance == nil {
		t.Fatalf("got %+v", v.Units)
	}
	if diff := cmp.Diff("MIG-1", v.Units[0].Instance.UUID); diff != "" {
		t.Error(diff)
	}
	dropped := broken(2, 1).Visible("1", true).Unusable
	if len(dropped) != 1 || dropped[0].Index != 1 {
		t.Errorf("unusable %v", dropped)
	}
	halfSplit := gputest.Inventory(1)
	halfSplit.Devices[0].MIG = true // nobody noted a problem
	if v := halfSplit.Visible("0", true); len(v.Units) != 0 || v.Unusable[0].Problem != gpu.ProblemNoInstance {
		t.Errorf("got %+v", v)
	}
}

func FuzzVisible(f *testing.F) {
	for _, seed := range []string{"", "-1", "0,1", "0,0", "GPU-0,GPU-1", "MIG-0,MIG-" + gputest.UUID(1) + "/1/0", " 1,+2", "1\n2", "GPU-,\xff"} {
		f.Add(seed)
	}
	machines := []gpu.Inventory{gputest.Inventory(0), gputest.Inventory(4), broken(4, 2), split(3, 1, 2)}
	f.Fuzz(func(t *testing.T, value string) {
		for _, inv := range machines {
			v := inv.Visible(value, true)
			seen := map[string]bool{}
			for _, u := range v.Units {
				if seen[u.ID] || u.ID == "" {
					t.Errorf("%q: entry %q is empty or there twice", value, u.ID)
				}
				seen[u.ID] = true
				if !u.Device.Usable() || u.Device.MIG != (u.Instance != nil) {
					t.Errorf("%q: unit %+v", value, u)
				}
			}
			if strings.ContainsAny(v.Reason, "\n\r") {
				t.Errorf("%q: reason is not one line: %q", value, v.Reason)
			}
			if v.Cut != "" && v.Reason == "" {
				t.Errorf("%q: cut without a reason", value)
			}
			// What one reading yields, a second reading yields again: that is what the worker's CUDA does.
			if len(v.Unusable) == 0 && len(v.Units) > 0 && v.Units[0].Instance == nil {
				var list []string
				for _, u := range v.Units {
					if u.Instance != nil {
						return
					}
					list = append(list, u.ID)
				}
				if again := inv.Visible(strings.Join(list, ","), true); gputest.IDs(again) != gputest.IDs(v) {
					t.Errorf("%q gives %q, and that gives %q", value, gputest.IDs(v), gputest.IDs(again))
				}
			}
		}
	})
}
