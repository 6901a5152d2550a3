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

	"github.com/gpulaunch/gpulaunch/affinity"
)

// secrets stand in the synthetic machine, in files and folders beside those that are kept, in the kept files' other
// lines, and in names. None may be in an archive.
var secrets = []string{
	"SERIAL-0324517012345", "3f9c0d1e5a7b2468", "host-r12n07", "job-alice-991", "builder@ws-bob",
	"b8:59:9f:aa:bb:cc", "b8599faabbcc", "b859:9f03:00aa:bbcc", "enxb8599faabbcc", "rocexb8599f0300aabbcc",
	"b8599f03-00aa-bbcc-8a3e-b8599f0300aa", "fe80:0000:0000:0000:b859:9fff:feaa:bbcc",
	"GPU-1b2c3d4e-aaaa-bbbb-cccc-0123456789ab", "GPU-99999999-aaaa-bbbb-cccc-0123456789ab", "92.00.19.00.10",
}

const (
	nicPath    = "sys/devices/pci0000:16/0000:16:01.0/0000:17:00.0"
	gpuPath    = "sys/devices/pci0000:16/0000:16:02.0/0000:1b:00.0"
	hyperVPath = "sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00/b8599f03-00aa-bbcc-8a3e-b8599f0300aa/pci8a3e:00/8a3e:00:02.0"
)

// syntheticFiles are a machine with two NUMA nodes, GPUs and RDMA devices, and secrets everywhere. A content that begins
// with an arrow is a link.
func syntheticFiles() map[string]string {
	files := map[string]string{
		"proc/sys/kernel/hostname":        "host-r12n07\n",
		"proc/meminfo":                    "MemTotal:  263921428 kB\nMemFree: 3f9c0d1e5a7b2468 kB\n",
		"proc/cpuinfo":                    "processor: 0\nserial: SERIAL-0324517012345\n",
		"proc/mounts":                     "host-r12n07:/home /home nfs rw,addr=10.1.2.3 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n",
		"proc/self/cgroup":                "0::/job-alice-991/step\n",
		"proc/self/status":                "Name:\thost-r12n07\nCpus_allowed_list:\t0-3\nMems_allowed_list:\t0-1\nSpeculation:\tjob-alice-991\n",
		"proc/self/environ":               "HOSTNAME=host-r12n07",
		"etc/machine-id":                  "3f9c0d1e5a7b2468\n",
		"sys/class/dmi/id/product_serial": "SERIAL-0324517012345\n",

		"sys/fs/cgroup/cgroup.controllers":                       "cpuset cpu memory\n",
		"sys/fs/cgroup/job-alice-991/cpu.max":                    "150000 100000\n",
		"sys/fs/cgroup/job-alice-991/step/cpu.max":               "max 100000\n",
		"sys/fs/cgroup/job-alice-991/step/cpuset.cpus.effective": "0-2\n",
		"sys/fs/cgroup/job-alice-991/step/cgroup.procs":          "host-r12n07\n",

		cpuDir + "/online":              "0-3\n",
		cpuDir + "/possible":            "0-5\n",
		cpuDir + "/uevent":              "host-r12n07\n",
		cpuDir + "/cpu4/topology/ppin":  "0x3f9c0d1e5a7b2468\n", // an offline CPU, of which only the folder counts
		cpuDir + "/cpufreq/host-r12n07": "x",

		nodeDir + "/has_memory":                                     "0-1\n",
		nodeDir + "/node1/access0/initiators/node0":                 "→../../../node0",
		nodeDir + "/node1/access0/initiators/read_latency":          "210\n",
		nodeDir + "/node1/access0/initiators/rocexb8599f0300aabbcc": "x",

		"sys/bus/pci/devices/0000:17:00.0":          "→../../../devices/pci0000:16/0000:16:01.0/0000:17:00.0",
		"sys/bus/pci/devices/0000:1b:00.0":          "→../../../devices/pci0000:16/0000:16:02.0/0000:1b:00.0",
		"sys/bus/pci/devices/0000:16:01.0":          "→../../../devices/pci0000:16/0000:16:01.0",
		"sys/bus/pci/devices/8a3e:00:02.0":          "→../../../" + strings.TrimPrefix(hyperVPath, "sys/"),
		"sys/bus/pci/devices/host-r12n07":           "→../../../devices/pci0000:16/0000:16:02.0/0000:1b:00.0",
		"sys/devices/pci0000:16/0000:16:01.0/class": "0x060400\n",
		hyperVPath + "/class":                       "0x020700\n",
		hyperVPath + "/numa_node":                   "1\n",
		nicPath + "/class":                          "0x020700\n",
		nicPath + "/vendor":                         "0x15b3\n",
		nicPath + "/numa_node":                      "0\n",
		nicPath + "/vpd":                            "SERIAL-0324517012345",
		nicPath + "/net/enxb8599faabbcc/address":    "b8:59:9f:aa:bb:cc\n",
		gpuPath + "/class":                          "0x030200\n",
		gpuPath + "/numa_node":                      "1\n",
		gpuPath + "/local_cpulist":                  "2-3\n",
		gpuPath + "/uevent":                         "SERIAL-0324517012345\n",

		"sys/class/net/enxb8599faabbcc":                                "→../../devices/pci0000:16/0000:16:01.0/0000:17:00.0/net/enxb8599faabbcc",
		"sys/class/infiniband/mlx5_0":                                  "→../../devices/pci0000:16/0000:16:01.0/0000:17:00.0/infiniband/mlx5_0",
		nicPath + "/infiniband/mlx5_0/device":                          "→../../../0000:17:00.0",
		nicPath + "/infiniband/mlx5_0/node_guid":                       "b859:9f03:00aa:bbcc\n",
		nicPath + "/infiniband/mlx5_0/node_desc":                       "host-r12n07 mlx5_0\n",
		nicPath + "/infiniband/mlx5_0/ports/1/state":                   "4: ACTIVE\n",
		nicPath + "/infiniband/mlx5_0/ports/1/link_layer":              "InfiniBand\n",
		nicPath + "/infiniband/mlx5_0/ports/1/gids/0":                  "fe80:0000:0000:0000:b859:9fff:feaa:bbcc\n",
		nicPath + "/infiniband/mlx5_0/ports/1/gid_attrs/ndevs/0":       "enxb8599faabbcc\n",
		"sys/class/infiniband/rocexb8599f0300aabbcc":                   "→../../" + strings.TrimPrefix(hyperVPath, "sys/") + "/infiniband/rocexb8599f0300aabbcc",
		hyperVPath + "/infiniband/rocexb8599f0300aabbcc/device":        "→../../../8a3e:00:02.0",
		hyperVPath + "/infiniband/rocexb8599f0300aabbcc/ports/1/state": "1: DOWN\n",

		"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (builder@ws-bob)\n" +
			"GCC version:  gcc on host-r12n07\n",
		"proc/driver/nvidia/gpus/0000:1b:00.0/information": "Model: \t\t NVIDIA A100-SXM4-80GB\nIRQ:   \t\t 3f9c0d1e5a7b2468\n" +
			"GPU UUID: \t GPU-1b2c3d4e-aaaa-bbbb-cccc-0123456789ab\nVideo BIOS: \t 92.00.19.00.10\nBus Location: \t 0000:1b:00.0\nDevice Minor: \t 3\n",
		"proc/driver/nvidia/gpus/0000:1b:00.0/numa_status":  "Node: \t 255\nStatus: \t online\nAddress: \t 3f9c0d1e5a7b2468\n",
		"proc/driver/nvidia/gpus/0000:1b:00.0/registry":     "SERIAL-0324517012345\n",
		"proc/driver/nvidia/gpus/0000:1c:00.0/information":  "Model: \t X\nGPU UUID: \t GPU-99999999-aaaa-bbbb-cccc-0123456789ab\nGPU Excluded:\t Yes\n",
		"proc/driver/nvidia/gpus/0000:3b:00.0/information":  "Model: \t Y\nGPU UUID: \t GPU-????????-????-????-????-????????????\n",
		"proc/driver/nvidia/gpus/10000:01:00.0/information": "Model: \t Z\nGPU UUID: \t GPU-99999999-aaaa-bbbb-cccc-0123456789ab\n",
		"proc/driver/nvidia/gpus/host-r12n07/information":   "Model: \t host-r12n07\n",
	}
	for _, cpu := range []string{"0", "1", "2", "3"} {
		node := map[string]string{"0": "0", "1": "0", "2": "1", "3": "1"}[cpu]
		dir := cpuDir + "/cpu" + cpu
		files[dir+"/topology/core_id"] = cpu + "\n"
		files[dir+"/topology/thread_siblings_list"] = cpu + "\n"
		files[dir+"/topology/physical_package_id"] = node + "\n"
		files[dir+"/topology/core_siblings_list"] = map[string]string{"0": "0-1\n", "1": "2-3\n"}[node]
		files[dir+"/topology/ppin"] = "0x3f9c0d1e5a7b2468\n"
		files[dir+"/cache/index3/level"] = "3\n"
		files[dir+"/cache/index3/shared_cpu_list"] = map[string]string{"0": "0-1\n", "1": "2-3\n"}[node]
		files[dir+"/cache/index3/uevent"] = "SERIAL-0324517012345\n"
		files[nodeDir+"/node"+node+"/cpulist"] = map[string]string{"0": "0-1\n", "1": "2-3\n"}[node]
		files[nodeDir+"/node"+node+"/distance"] = map[string]string{"0": "10 21\n", "1": "21 10\n"}[node]
		files[nodeDir+"/node"+node+"/meminfo"] = "Node " + node + " MemTotal: 1000 kB\nNode " + node + " MemFree: 3f9c0d1e5a7b2468 kB\n"
	}
	return files
}

func syntheticMachine(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range syntheticFiles() {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "→"); ok {
			err = os.Symlink(target, file)
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
		for name, content := range syntheticFiles() {
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
	if got, limited, err := affinity.ReadQuota(machine.Root); err != nil || !limited || math.Abs(got-1.5) > 1e-6 || got != want {
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
	if diff := cmp.Diff(wantNICs[:1], nics[:1]); diff != "" || len(nics) != 2 || nics[1].PCIAddress != "8a3e:00:02.0" {
		t.Errorf("RDMA devices %+v; the first in the source -, in the capture +:\n%s", nics, diff)
	}
	if _, err := affinity.ReadLocality(machine.Root, "0000:16:01.0"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a bridge is in the capture (%v)", err)
	}
	compareFiles(t, machine.Root, map[string]string{
		nicPath + "/infiniband/mlx5_0/ports/1/state": "4: ACTIVE\n",
		"sys/class/infiniband/mlx5_0":                "→../../devices/pci0000:16/0000:16:01.0/0000:17:00.0/infiniband/mlx5_0",
		nicPath + "/infiniband/mlx5_0/device":        "→../../../0000:17:00.0",
		"sys/bus/pci/devices/0000:1b:00.0":           "→../../../devices/pci0000:16/0000:16:02.0/0000:1b:00.0",
		nodeDir + "/node1/access0/initiators/node0":  "→../../../node0",
		"proc/self/status":                           "Cpus_allowed_list:\t0-2\nMems_allowed_list:\t0-1\n",
		"proc/meminfo":                               "MemTotal:  263921428 kB\n",
		"proc/driver/nvidia/version":                 "NVRM version: NVIDIA UNIX Kernel Module 550.54.15\n",
	})
}

func TestWriteRenamesTheSameThingTheSameWay(t *testing.T) {
	machine := openBytes(t, write(t, syntheticMachine(t), nil))
	bus := "devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/device0/device1/pci8a3e:00/8a3e:00:02.0"
	compareFiles(t, machine.Root, map[string]string{
		"sys/bus/pci/devices/8a3e:00:02.0":                                       "→../../../" + bus,
		"sys/class/infiniband/rdma2":                                             "→../../" + bus + "/infiniband/rdma2",
		"sys/" + bus + "/infiniband/rdma2/ports/1/state":                         "1: DOWN\n",
		"sys/class/infiniband/rdma2/device/numa_node":                            "1\n",
		"sys/class/infiniband/mlx5_0/device/numa_node":                           "0\n",
		"sys/class/infiniband/mlx5_0/device/vendor":                              "0x15b3\n",
		"sys/bus/pci/devices/0000:17:00.0/../../0000:16:01.0/0000:17:00.0/class": "0x020700\n",
	})
}

// GPUs count as package gpu counts them: by PCI address, without those that the driver leaves alone.
func TestWriteMakesUUIDsOfPositions(t *testing.T) {
	machine := openBytes(t, write(t, syntheticMachine(t), nil))
	gpus := path.Join(driverDir, "gpus")
	compareFiles(t, machine.Root, map[string]string{
		gpus + "/0000:1b:00.0/information": "Model: \t\t NVIDIA A100-SXM4-80GB\nBus Location: \t 0000:1b:00.0\nDevice Minor: \t 3\n" +
			"GPU UUID:\tGPU-00000000-0000-0000-0000-000000000000\n",
		gpus + "/0000:1b:00.0/numa_status":  "Node: \t 255\nStatus: \t online\n",
		gpus + "/0000:1c:00.0/information":  "Model: \t X\nGPU Excluded:\t Yes\n",
		gpus + "/0000:3b:00.0/information":  "Model: \t Y\nGPU UUID:\tGPU-????????-????-????-????-????????????\n",
		gpus + "/10000:01:00.0/information": "Model: \t Z\nGPU UUID:\tGPU-00000000-0000-0000-0000-000000000002\n",
	})
	if _, err := os.Stat(filepath.Join(machine.Root, gpus, "host-r12n07")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is no GPU is in the capture (%v)", err)
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

// A folder from somebody else must not bring files of this machine into the archive, nor hold the reader.
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
	if err := Write(brokenWriter{}, syntheticMachine(t), nil); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("a broken writer: %v", err)
	}
	empty := t.TempDir()
	if err := Write(&bytes.Buffer{}, empty, nil); err == nil || !strings.Contains(err.Error(), empty) {
		t.Errorf("a root without CPUs: %v", err)
	}
}
