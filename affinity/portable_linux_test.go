package affinity

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

// everything is all that can be read of a machine, and the errors.
type everything struct {
	Topology   *Topology
	NICs       []NIC
	Quota      string
	Localities map[string]Locality
	Errors     []string
}

func readEverything(s *sysfs) (all everything) {
	note := func(what string, err error) {
		if err != nil {
			missing := errors.Is(err, fs.ErrNotExist)
			all.Errors = append(all.Errors, fmt.Sprintf("%s: missing %v", what, missing))
		}
	}
	var err error
	all.Topology, err = s.readTopology()
	note("topology", err)
	all.NICs, err = s.readNICs()
	note("NICs", err)
	cpus, limited, err := s.readQuota()
	all.Quota = fmt.Sprint(cpus, limited)
	note("quota", err)
	all.Localities = map[string]Locality{}
	devices, err := s.names(pciDir)
	note("devices", err)
	slices.Sort(devices)
	for _, device := range append(devices, "0000:ff:1f.7") {
		all.Localities[device], err = s.readLocality(Locality{Name: device, NUMANode: -1})
		note(device, err)
	}
	return all
}

// TestPortableReaderAgrees reads every machine as other systems do: from a folder that keeps names
// and links as they are, and from one that keeps them for Windows.
func TestPortableReaderAgrees(t *testing.T) {
	roots := map[string]string{
		"cgroup": cgroup2().write(t), "chiplets": chiplets().write(t), "devices": deviceTree(t),
	}
	for name := range affinitytest.Captures(t) {
		roots[name] = affinitytest.Root(t, name)
	}
	devices := 0
	for _, name := range slices.Sorted(maps.Keys(roots)) {
		t.Run(name, func(t *testing.T) {
			fast, err := openSysfs(roots[name])
			if err != nil {
				t.Fatal(err)
			}
			want := readEverything(fast)
			devices += len(want.Localities) - 1
			encoded := t.TempDir()
			copyMachine(t, roots[name], encoded, rootfs.Encoded)
			for layout, root := range map[rootfs.Layout]string{
				rootfs.Plain: roots[name], rootfs.Encoded: encoded,
			} {
				reader, err := newPortableReader(root, layout)
				if err != nil {
					t.Fatal(err)
				}
				portable := &sysfs{reader, root}
				if diff := cmp.Diff(want, readEverything(portable)); diff != "" {
					t.Errorf("layout %d, fast -, portable +:\n%s", layout, diff)
				}
				portable.close()
			}
		})
	}
	if devices < 20 {
		t.Errorf("only %d devices were compared", devices)
	}
}

// deviceTree writes a machine that has RDMA devices behind links, and a quota.
func deviceTree(t *testing.T) string {
	m := grid(1, 2, 2, 1)
	m.files = map[string]string{
		"/proc/mounts":                 "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0",
		"/proc/self/cgroup":            "0::/a/b",
		"/sys/fs/cgroup/a/cpu.max":     "150000 100000",
		"/sys/fs/cgroup/a/b/cpu.max":   "max 100000",
		nodePath(1) + "/cpulist/x":     "a folder in the place of a file",
		pciDir + "0000:01:00.0/class":  "0x030200",
		infinibandDir + "/bare/a:port": "1",
	}
	delete(m.nodes, 1)
	tree := pciTree{m.write(t)}
	const bridge = "pci0000:3a/0000:3a:00.0/0000:3b:00.0"
	tree.device(t, bridge, "1")
	tree.nic(t, "mlx5_1", bridge, "4: ACTIVE", "1: DOWN")
	tree.nic(t, "mlx5_2", bridge+"/mlx5_core.sf.4", "4: ACTIVE")
	tree.nic(t, "rxe0", "virtual", "4: ACTIVE")
	tree.link(t, infinibandDir+"/loop", "loop")
	tree.link(t, infinibandDir+"/outside", "../../../../../etc")
	return tree.root
}
