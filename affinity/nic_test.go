package affinity

import (
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
)

// pciTree is a machine's PCI and RDMA devices as sysfs has them: real folders, and links to these.
type pciTree struct{ root string }

// device adds the folder of a PCI device and the link to it.
func (p pciTree) device(t *testing.T, place, node string) {
	t.Helper()
	writeFile(t, p.root, "/sys/devices/"+place+"/numa_node", node+"\n")
	p.link(t, pciDir+path.Base(place), "../../../devices/"+place)
}

// nic adds an RDMA device below a folder of /sys/devices, with ports in these states.
func (p pciTree) nic(t *testing.T, name, place string, states ...string) {
	t.Helper()
	dir := "/sys/devices/" + place + "/infiniband/" + name
	for i, state := range states {
		port := dir + "/ports/" + string(rune('1'+i))
		writeFile(t, p.root, port+"/state", state+"\n")
		writeFile(t, p.root, port+"/link_layer", "InfiniBand\n")
	}
	p.link(t, dir+"/device", "../../../"+path.Base(place))
	p.link(t, infinibandDir+"/"+name, "../../devices/"+place+"/infiniband/"+name)
}

func (p pciTree) link(t *testing.T, name, target string) {
	t.Helper()
	files := openRoot(t, p.root)
	defer files.Close()
	err := files.MkdirAll(path.Dir(relative(name)))
	if err := errors.Join(err, files.Symlink(target, relative(name))); err != nil {
		t.Fatal(err)
	}
}

func TestReadNICs(t *testing.T) {
	tree := pciTree{t.TempDir()}
	if nics, err := ReadNICs(tree.root); err != nil || len(nics) != 0 {
		t.Errorf("nothing there: %v, %v", nics, err)
	}
	const port = "pci0000:3a/0000:3a:00.0/0000:3b:00.0"
	tree.device(t, port, "1")
	tree.nic(t, "mlx5_1", port, "4: ACTIVE", "1: DOWN")
	// This is a scalable function of the same card.
	tree.nic(t, "mlx5_2", port+"/mlx5_core.sf.4", "4: ACTIVE")
	tree.device(t, "pci10000:e0/10000:e1:00.0", "-1")
	tree.nic(t, "mlx5_0", "pci10000:e0/10000:e1:00.0")
	tree.nic(t, "rxe0", "virtual", "4: ACTIVE")
	// This one is a folder instead of a link.
	tree.link(t, infinibandDir+"/copied/device", "../../../0000:3b:00.0")
	// This one has neither links nor ports.
	writeFile(t, tree.root, infinibandDir+"/bare/node_guid", "1")
	// This link leads nowhere.
	tree.link(t, infinibandDir+"/outside", "../../../../../../../0000:99:00.0/../etc")
	got, err := ReadNICs(tree.root)
	if err != nil {
		t.Fatal(err)
	}
	want := []NIC{
		{Name: "bare", NUMANode: -1},
		{Name: "copied", PCIAddress: "0000:3b:00.0", PCIPath: "/sys/devices/" + port, NUMANode: 1},
		{Name: "mlx5_0", PCIAddress: "10000:e1:00.0",
			PCIPath: "/sys/devices/pci10000:e0/10000:e1:00.0", NUMANode: -1},
		{Name: "mlx5_1", PCIAddress: "0000:3b:00.0", PCIPath: "/sys/devices/" + port, NUMANode: 1,
			Ports: []NICPort{{1, "ACTIVE", "InfiniBand"}, {2, "DOWN", "InfiniBand"}}},
		{Name: "mlx5_2", PCIAddress: "0000:3b:00.0", PCIPath: "/sys/devices/" + port, NUMANode: 1,
			Ports: []NICPort{{1, "ACTIVE", "InfiniBand"}}},
		{Name: "outside", PCIAddress: "0000:99:00.0", NUMANode: -1},
		{Name: "rxe0", NUMANode: -1, Ports: []NICPort{{1, "ACTIVE", "InfiniBand"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestClosestNICs has two root complexes per node, with switches that have GPUs and RDMA devices
// below them.
func TestClosestNICs(t *testing.T) {
	const switch0 = "pci0000:10/0000:10:00.0/0000:11:00.0"
	const switch1 = "pci0000:10/0000:10:01.0/0000:21:00.0"
	const otherRoot, otherNode = "pci0000:30/0000:30:00.0", "pci0000:80/0000:80:00.0"
	tree := pciTree{t.TempDir()}
	for place, node := range map[string]string{
		switch0 + "/0000:12:00.0/0000:13:00.0": "0",  // GPU
		switch0 + "/0000:12:01.0/0000:14:00.0": "0",  // GPU
		switch0 + "/0000:12:02.0/0000:15:00.0": "0",  // mlx5_0
		switch1 + "/0000:22:00.0":              "0",  // GPU
		switch1 + "/0000:23:00.0":              "0",  // mlx5_1
		switch1 + "/0000:24:00.0":              "0",  // mlx5_2
		otherRoot + "/0000:31:00.0":            "0",  // GPU
		otherNode + "/0000:81:00.0":            "1",  // GPU
		otherNode + "/0000:82:00.0":            "1",  // mlx5_3
		"pci0000:a0/0000:a1:00.0":              "-1", // GPU
	} {
		tree.device(t, place, node)
	}
	tree.nic(t, "mlx5_0", switch0+"/0000:12:02.0/0000:15:00.0", "4: ACTIVE")
	tree.nic(t, "mlx5_1", switch1+"/0000:23:00.0", "4: ACTIVE")
	tree.nic(t, "mlx5_2", switch1+"/0000:24:00.0", "4: ACTIVE")
	tree.nic(t, "mlx5_3", otherNode+"/0000:82:00.0", "1: DOWN", "4: ACTIVE")
	for _, test := range []struct{ name, devices, down, want string }{
		{"same switch", "13:00.0 14:00.0 13:00.0", "", "mlx5_0 mlx5_0 mlx5_0"},
		{"in turn on the same switch", "22:00.0 22:00.0 22:00.0", "", "mlx5_1 mlx5_2 mlx5_1"},
		{"node decides between roots", "31:00.0 31:00.0 31:00.0 31:00.0", "",
			"mlx5_0 mlx5_1 mlx5_2 mlx5_0"},
		{"path before node", "81:00.0 13:00.0", "", "mlx5_3 mlx5_0"},
		{"nothing known", "a1:00.0 a1:00.0 a1:00.0 a1:00.0 a1:00.0", "",
			"mlx5_0 mlx5_1 mlx5_2 mlx5_3 mlx5_0"},
		{"overlap", "31:00.0 13:00.0", "", "mlx5_1 mlx5_0"},
		{"overlap, the other way round", "13:00.0 31:00.0", "", "mlx5_0 mlx5_1"},
		{"overlap of three", "a1:00.0 31:00.0 22:00.0 13:00.0", "", "mlx5_3 mlx5_1 mlx5_2 mlx5_0"},
		{"not there", "ff:00.0 ff:00.0", "", " "},
		{"the nearest is down", "13:00.0 14:00.0", "mlx5_0", "mlx5_1 mlx5_2"},
		{"the node's are down", "31:00.0", "mlx5_0 mlx5_1 mlx5_2", "mlx5_3"},
		{"all are down", "31:00.0 13:00.0", "mlx5_0 mlx5_1 mlx5_2 mlx5_3", " "},
	} {
		nics, err := ReadNICs(tree.root)
		if err != nil {
			t.Fatal(err)
		}
		for i := range nics {
			if slices.Contains(strings.Fields(test.down), nics[i].Name) {
				nics[i].Ports = []NICPort{{1, "DOWN", ""}}
			}
		}
		var locs []Locality
		for device := range strings.FieldsSeq(test.devices) {
			loc, _ := ReadLocality(tree.root, device)
			locs = append(locs, loc)
		}
		before := slices.Clone(nics)
		if got := strings.Join(ClosestNICs(locs, nics), " "); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		if diff := cmp.Diff(before, nics); diff != "" {
			t.Errorf("%s: the RDMA devices changed: %s", test.name, diff)
		}
	}
	if got := ClosestNICs([]Locality{{}}, nil); len(got) != 1 || got[0] != "" {
		t.Errorf("no RDMA device: %q", got)
	}
}

// TestCapturedNICs has eight accelerators and two InfiniBand adapters, half of each on one of two
// switches. The capture has no /sys/class/infiniband. The adapters are the devices of class 0x0207.
func TestCapturedNICs(t *testing.T) {
	root := affinitytest.Root(t, "hwloc-32intel64-2p8co2t+8ve")
	var nics []NIC
	for _, adapter := range []struct{ name, addr string }{
		{"mlx5_0", "0000:1a:00.0"}, {"mlx5_1", "0000:3e:00.0"},
	} {
		loc, err := ReadLocality(root, adapter.addr)
		if err != nil {
			t.Fatal(err)
		}
		nics = append(nics, NIC{
			Name: adapter.name, PCIAddress: adapter.addr,
			PCIPath: loc.PCIPath, NUMANode: loc.NUMANode,
		})
	}
	var locs []Locality
	const accelerators = "1b:00.0 1c:00.0 1d:00.0 1e:00.0 3d:00.0 3f:00.0 40:00.0 41:00.0"
	for addr := range strings.FieldsSeq(accelerators) {
		loc, err := ReadLocality(root, addr)
		if err != nil {
			t.Fatal(err)
		}
		locs = append(locs, loc)
	}
	const want = "mlx5_0 mlx5_0 mlx5_0 mlx5_0 mlx5_1 mlx5_1 mlx5_1 mlx5_1"
	if got := strings.Join(ClosestNICs(locs, nics), " "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
