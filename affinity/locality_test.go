package affinity

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
)

func TestReadLocality(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{
		"0000:1b:00.0/numa_node":     "1\n",
		"0000:1b:00.0/local_cpus":    "00000000,0000ff00\n\x00",
		"0000:1b:00.0/local_cpulist": "0-63\n",
		"0000:06:00.0/numa_node":     "-1\n",
		"0000:06:00.0/local_cpulist": "0-7\n",
		"10000:01:00.0/local_cpus":   "f",
		"0000:02:00.0/numa_node":     "x",
		"0000:02:00.0/local_cpus":    "3",
		"0000:03:00.0/class":         "0x030200",
		"0000:04:00.0/numa_node":     "-7",
		"0000:04:00.0/local_cpus":    "zz",
	} {
		writeFile(t, root, pciDir+name, content)
	}
	for _, test := range []struct {
		in   string
		want Locality
		err  string
	}{
		{"00000000:1B:00.0",
			Locality{Name: "0000:1b:00.0", NUMANode: 1, CPUs: parseList(t, "8-15")}, ""},
		{"0000:06:00.0",
			Locality{Name: "0000:06:00.0", NUMANode: -1, CPUs: parseList(t, "0-7")}, ""},
		{"00010000:01:00.0",
			Locality{Name: "10000:01:00.0", NUMANode: -1, CPUs: parseList(t, "0-3")}, ""},
		{"0000:02:00.0", Locality{Name: "0000:02:00.0", NUMANode: -1, CPUs: parseList(t, "0-1")},
			`"x" is not a number`},
		{"0000:03:00.0", Locality{Name: "0000:03:00.0", NUMANode: -1}, ""},
		{"0000:04:00.0", Locality{Name: "0000:04:00.0", NUMANode: -1}, `invalid CPU mask "zz"`},
		{"nonsense", Locality{Name: "nonsense", NUMANode: -1}, "is not a PCI address"},
	} {
		got, err := ReadLocality(root, test.in)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s, -want +got:\n%s", test.in, diff)
		}
		affinitytest.WantError(t, test.in, err, test.err)
	}
	got, err := ReadLocality(root, "0000:ff:00.0")
	if !errors.Is(err, fs.ErrNotExist) || got.NUMANode != -1 {
		t.Errorf("absent device: %+v, %v", got, err)
	}
}

// TestCapturedLocalities reads the places of devices of captured machines.
func TestCapturedLocalities(t *testing.T) {
	for _, test := range []struct {
		capture, pci string
		node         int
		cpus         string
	}{
		{"ghw-accel-nvidia", "00000000:06:00.0", -1, "0-7"},
		{"hwloc-32intel64-2p8co2t+8ve", "0000:1b:00.0", 0, "0-7,16-23"},
		{"hwloc-nvidiagpunumanodes", "0004:05:00.0", -1, "0-15"},
	} {
		loc, err := ReadLocality(affinitytest.Root(t, test.capture), test.pci)
		if err != nil {
			t.Errorf("%s: %v", test.capture, err)
		}
		if loc.NUMANode != test.node || loc.CPUs.String() != test.cpus {
			t.Errorf("%s %s: node %d, CPUs %s, want %d, %s", test.capture, test.pci, loc.NUMANode,
				loc.CPUs, test.node, test.cpus)
		}
	}
}
