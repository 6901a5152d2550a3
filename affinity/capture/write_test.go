package capture

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/gpulaunch/gpulaunch/affinity"
)

// secrets are what identifies the synthetic machine. None of them may be in an archive.
var secrets = []string{
	"SERIAL-0324517012345", "3f9c0d1e5a7b2468", "host-r12n07", "job-alice-991", "builder@ws-bob",
	"b8:59:9f:aa:bb:cc", "b8599faabbcc", "b859:9f03:00aa:bbcc", "enxb8599faabbcc",
	"rocexb8599f0300aabbcc", "b8599f03-00aa-bbcc-8a3e-b8599f0300aa",
	"fe80:0000:0000:0000:b859:9fff:feaa:bbcc", "92.00.19.00.10",
	"GPU-1b2c3d4e-aaaa-bbbb-cccc-0123456789ab", "GPU-99999999-aaaa-bbbb-cccc-0123456789ab",
}

const nicPath = "sys/devices/pci0000:16/0000:16:01.0/0000:17:00.0"

// syntheticFiles returns the files of the synthetic machine by name. A content that begins with an
// arrow stands for a link.
func syntheticFiles(t *testing.T) map[string]string {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/machine.txtar")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, file := range archive.Files {
		files[file.Name] = string(file.Data)
	}
	return files
}

func syntheticMachine(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range syntheticFiles(t) {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "→"); ok {
			err = os.Symlink(strings.TrimSpace(target), file)
		} else {
			err = os.WriteFile(file, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestWriteLeavesOutWhatIdentifies(t *testing.T) {
	root := syntheticMachine(t)
	for _, secret := range secrets {
		planted := false
		for name, content := range syntheticFiles(t) {
			planted = planted || strings.Contains(name+content, secret)
		}
		if !planted {
			t.Errorf("%s is nowhere in the machine", secret)
		}
	}
	content := unzipped(t, write(t, root, nil))
	for _, secret := range secrets {
		if bytes.Contains(content, []byte(secret)) {
			t.Errorf("%s is in the archive", secret)
		}
	}
}

func TestWriteKeepsWhatPlanningReads(t *testing.T) {
	root := syntheticMachine(t)
	machine := openBytes(t, write(t, root, nil))
	topology := readTopology(t, machine.Root)
	if diff := cmp.Diff(readTopology(t, root), topology); diff != "" {
		t.Errorf("source -, capture +:\n%s", diff)
	}
	if got := topology.Allowed.String(); got != "0-2" {
		t.Errorf("allowed CPUs %s, want 0-2", got)
	}
	want, _, _ := affinity.ReadQuota(root)
	got, limited, err := affinity.ReadQuota(machine.Root)
	if err != nil || !limited || math.Abs(got-1.5) > 1e-6 || got != want {
		t.Errorf("quota %v, %v, %v, want 1.5", got, limited, err)
	}
	for _, address := range []string{"0000:17:00.0", "0000:1b:00.0", "8a3e:00:02.0"} {
		want, err := affinity.ReadLocality(root, address)
		if err != nil {
			t.Fatal(err)
		}
		got, err := affinity.ReadLocality(machine.Root, address)
		if err != nil {
			t.Error(err)
		}
		if got.NUMANode != want.NUMANode || !got.CPUs.Equal(want.CPUs) {
			t.Errorf("%s: %+v, in the source %+v", address, got, want)
		}
	}
	nics, err := affinity.ReadNICs(machine.Root)
	if err != nil {
		t.Fatal(err)
	}
	wantNICs, err := affinity.ReadNICs(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(nics) != 2 || nics[1].PCIAddress != "8a3e:00:02.0" {
		t.Fatalf("RDMA devices %+v", nics)
	}
	if diff := cmp.Diff(wantNICs[:1], nics[:1]); diff != "" {
		t.Errorf("the first RDMA device in the source -, in the capture +:\n%s", diff)
	}
	_, err = affinity.ReadLocality(machine.Root, "0000:16:01.0")
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a bridge is in the capture (%v)", err)
	}
	compareFiles(t, machine.Root, map[string]string{
		nicPath + "/infiniband/mlx5_0/ports/1/state": "4: ACTIVE\n",
		"sys/class/infiniband/mlx5_0": "→../../devices/pci0000:16/0000:16:01.0/0000:17:00.0/" +
			"infiniband/mlx5_0",
		nicPath + "/infiniband/mlx5_0/device": "→../../../0000:17:00.0",
		"sys/bus/pci/devices/0000:1b:00.0": "→../../../devices/pci0000:16/0000:16:02.0/" +
			"0000:1b:00.0",
		nodeDir + "/node1/access0/initiators/node0": "→../../../node0",
		"proc/self/status": "Cpus_allowed_list:\t0-2\n" +
			"Mems_allowed_list:\t0-1\n",
		"proc/meminfo": "MemTotal:  263921428 kB\n",
		"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Kernel Module " +
			"550.54.15\n",
	})
}

func TestWriteRenamesTheSameThingTheSameWay(t *testing.T) {
	machine := openBytes(t, write(t, syntheticMachine(t), nil))
	bus := "devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/device0/device1/pci8a3e:00/8a3e:00:02.0"
	compareFiles(t, machine.Root, map[string]string{
		"sys/bus/pci/devices/8a3e:00:02.0":               "→../../../" + bus,
		"sys/class/infiniband/rdma2":                     "→../../" + bus + "/infiniband/rdma2",
		"sys/" + bus + "/infiniband/rdma2/ports/1/state": "1: DOWN\n",
		"sys/class/infiniband/rdma2/device/numa_node":    "1\n",
		"sys/class/infiniband/mlx5_0/device/numa_node":   "0\n",
		"sys/class/infiniband/mlx5_0/device/vendor":      "0x15b3\n",
		"sys/bus/pci/devices/0000:17:00.0/../../0000:16:01.0/0000:17:00.0/class": "" +
			"0x020700\n",
	})
}

// GPUs are numbered as in package gpu: by PCI address, without those that the driver does not use.
func TestWriteMakesUUIDsOfPositions(t *testing.T) {
	machine := openBytes(t, write(t, syntheticMachine(t), nil))
	gpus := path.Join(driverDir, "gpus")
	compareFiles(t, machine.Root, map[string]string{
		gpus + "/0000:1b:00.0/information": "Model: \t\t NVIDIA A100-SXM4-80GB\n" +
			"Bus Location: \t 0000:1b:00.0\nDevice Minor: \t 3\n" +
			"GPU UUID:\tGPU-00000000-0000-0000-0000-000000000000\n",
		gpus + "/0000:1b:00.0/numa_status": "Node: \t 255\nStatus: \t online\n",
		gpus + "/0000:1c:00.0/information": "Model: \t X\nGPU Excluded:\t Yes\n",
		gpus + "/0000:3b:00.0/information": "Model: \t Y\n" +
			"GPU UUID:\tGPU-????????-????-????-????-????????????\n",
		gpus + "/10000:01:00.0/information": "Model: \t Z\n" +
			"GPU UUID:\tGPU-00000000-0000-0000-0000-000000000002\n",
	})
	_, err := os.Stat(filepath.Join(machine.Root, gpus, "host-r12n07"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the capture has a folder that is not a GPU's (%v)", err)
	}
}

// compareFiles compares files and, after an arrow, the targets of links.
func compareFiles(t *testing.T, root string, want map[string]string) {
	t.Helper()
	for name, want := range want {
		file := root + "/" + name // not cleaned: a path may go through a link and back
		content, err := os.ReadFile(file)
		got := string(content)
		if strings.HasPrefix(want, "→") {
			got, err = os.Readlink(file)
			got = "→" + got
		}
		if err != nil || got != want {
			t.Errorf("%s: %q (%v), want %q", name, got, err, want)
		}
	}
}

// A folder from somebody else must not bring files of this machine into the archive, nor hold the
// reader.
func TestWriteStaysInsideItsRoot(t *testing.T) {
	root := syntheticMachine(t)
	outside := filepath.Join(t.TempDir(), "core_id")
	if err := os.WriteFile(outside, []byte("host-r12n07"), 0o600); err != nil {
		t.Fatal(err)
	}
	topology := filepath.Join(root, cpuDir, "cpu0/topology")
	if err := errors.Join(os.Remove(topology+"/core_id"), os.Symlink(outside, topology+"/core_id"),
		os.Remove(topology+"/physical_package_id")); err != nil {
		t.Fatal(err)
	}
	makePipe(t, topology+"/physical_package_id")
	content := unzipped(t, write(t, root, nil))
	if bytes.Contains(content, []byte("host-r12n07")) {
		t.Error("a file outside of the root is in the archive")
	}
	if bytes.Contains(content, []byte("cpu0/topology/physical_package_id")) {
		t.Error("a pipe is in the archive")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteFails(t *testing.T) {
	if err := Write(brokenWriter{}, syntheticMachine(t), nil); err == nil ||
		!strings.Contains(err.Error(), "disk full") {
		t.Errorf("a broken writer: %v", err)
	}
	empty := t.TempDir()
	if err := Write(&bytes.Buffer{}, empty, nil); err == nil ||
		!strings.Contains(err.Error(), empty) {
		t.Errorf("a root without CPUs: %v", err)
	}
}
