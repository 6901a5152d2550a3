//go:build linux

package hardware

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// These are unit tests of the functions that the suite is made of.

const (
	uuid0 = "1c9e6f5a-0b1d-4c2e-8f3a-5d6e7f809102"
	uuid1 = "2d0f7a6b-1c2e-4d3f-9a4b-6e7f8091a213"
	uuid2 = "3e1a8b7c-2d3f-4e4a-8b5c-7f8091a2b324"
	mig1  = "4f2b9c8d-3e4a-5f5b-9c6d-8091a2b3c435" // an instance of GPU 1
)

// inventoryCSV is what nvidia-smi would print about three GPUs: a data centre card, a card in MIG
// mode whose memory only the administrator may read, and a desktop card without ECC and MIG. The
// driver of the last one uses older words for what is missing.
const inventoryCSV = "0, NVIDIA H100 80GB HBM3, GPU-" + uuid0 + ", 00000000:1B:00.0, " +
	"81559, Default, Enabled, Enabled, Disabled, 550.54.15\n" +
	"1, NVIDIA A100-SXM4-40GB, GPU-" + uuid1 + ", 00000001:C1:00.0, " +
	"[Insufficient Permissions], Exclusive_Process, Enabled, Disabled, Enabled, 550.54.15\n" +
	"2, NVIDIA GeForce RTX 4090, GPU-" + uuid2 + ", 00000000:E1:00.0, " +
	"24564, Default, Disabled, [N/A], [Not Supported], 550.54.15\n"

// inventoryOf returns the inventory of the same machine.
func inventoryOf() gpu.Inventory {
	inv := gpu.Inventory{
		Source: gpu.SourceNVML, DriverVersion: "550.54.15", CUDAVersion: "12.4",
	}
	inv.Devices = []gpu.Device{
		{
			Index: 0, Name: "NVIDIA H100 80GB HBM3", UUID: "GPU-" + uuid0,
			PCIBusID: "0000:1b:00.0", MemoryTotalBytes: 81559 << 20,
			ComputeMode: "default", Persistence: new(true), ECC: new(true),
		},
		{
			Index: 1, Name: "NVIDIA A100-SXM4-40GB", UUID: "GPU-" + uuid1,
			PCIBusID:    "0001:c1:00.0",
			ComputeMode: "exclusive-process", Persistence: new(true), ECC: new(false),
			MIG: true, MIGInstances: []gpu.MIGInstance{{UUID: "MIG-" + mig1}},
		},
		{
			Index: 2, Name: "NVIDIA GeForce RTX 4090", UUID: "GPU-" + uuid2,
			PCIBusID: "0000:e1:00.0", MemoryTotalBytes: 24564 << 20,
			ComputeMode: "default", Persistence: new(false),
		},
	}
	return inv
}

func rowsOf(t *testing.T, text string, fields ...string) []row {
	t.Helper()
	rows, err := parseRows(text, fields)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func names(list []comparison) (names []string) {
	for _, c := range list {
		names = append(names, c.name)
	}
	return names
}

// deviceChange is a change to one device of the inventory, and the differences that it must lead
// to.
type deviceChange struct {
	index  int
	change func(d *gpu.Device)
	want   []string
}

var deviceChanges = map[string]deviceChange{
	"none": {0, func(*gpu.Device) {}, nil},
	"another UUID": {1, func(d *gpu.Device) { d.UUID = d.UUID[:len(d.UUID)-1] + "4" },
		[]string{"GPU 1 uuid"}},
	"another bus": {0, func(d *gpu.Device) { d.PCIBusID = "0000:1c:00.0" },
		[]string{"GPU 0 pci.bus_id"}},
	"another domain": {1, func(d *gpu.Device) { d.PCIBusID = "0000:c1:00.0" },
		[]string{"GPU 1 pci.bus_id"}},
	"1 MiB less": {0, func(d *gpu.Device) { d.MemoryTotalBytes -= 1 << 20 }, nil},
	"2 MiB less": {0, func(d *gpu.Device) { d.MemoryTotalBytes -= 2 << 20 },
		[]string{"GPU 0 memory.total"}},
	"memory that is not permitted": {1, func(d *gpu.Device) { d.MemoryTotalBytes = 40 << 30 },
		[]string{"GPU 1 memory.total"}},
	"ECC that does not exist": {2, func(d *gpu.Device) { d.ECC = new(false) },
		[]string{"GPU 2 ecc.mode.current"}},
	"no ECC": {0, func(d *gpu.Device) { d.ECC = nil }, []string{"GPU 0 ecc.mode.current"}},
	"MIG mode": {2, func(d *gpu.Device) { d.MIG = true },
		[]string{"GPU 2 mig.mode.current"}},
	"another compute mode": {1, func(d *gpu.Device) { d.ComputeMode = "default" },
		[]string{"GPU 1 compute_mode"}},
	"persistence mode": {2, func(d *gpu.Device) { d.Persistence = new(true) },
		[]string{"GPU 2 persistence_mode"}},
}

var inventoryChanges = map[string]struct {
	change func(*gpu.Inventory)
	want   []string
}{
	"a GPU is missing": {func(inv *gpu.Inventory) { inv.Devices = inv.Devices[:2] },
		[]string{"number of GPUs"}},
	"no GPUs": {func(inv *gpu.Inventory) { inv.Source, inv.Devices = gpu.SourceNone, nil },
		[]string{"source", "number of GPUs"}},
	"two in another order": {func(inv *gpu.Inventory) {
		inv.Devices[0].Index, inv.Devices[2].Index = 2, 0
	}, []string{"GPU 0 index", "GPU 2 index"}},
	"another driver": {func(inv *gpu.Inventory) { inv.DriverVersion = "535.1" },
		[]string{"GPU 0 driver_version", "GPU 1 driver_version", "GPU 2 driver_version"}},
}

func TestCompareInventory(t *testing.T) {
	rows := rowsOf(t, inventoryCSV, inventoryFields...)
	check := func(t *testing.T, inv gpu.Inventory, want []string) {
		found := differences(compareInventory(rows, inv))
		if diff := cmp.Diff(want, names(found)); diff != "" {
			t.Errorf("-want +got\n%s\n%v", diff, found)
		}
	}
	for name, c := range deviceChanges {
		t.Run(name, func(t *testing.T) {
			inv := inventoryOf()
			c.change(&inv.Devices[c.index])
			check(t, inv, c.want)
		})
	}
	for name, c := range inventoryChanges {
		t.Run(name, func(t *testing.T) {
			inv := inventoryOf()
			c.change(&inv)
			check(t, inv, c.want)
		})
	}
	t.Run("both values in the message", func(t *testing.T) {
		inv := inventoryOf()
		inv.Devices[0].ECC = nil
		const want = `GPU 0 ecc.mode.current: nvidia-smi says "Enabled", gpulaunch says nothing`
		if found := differences(compareInventory(rows, inv)); found[0].String() != want {
			t.Errorf("the message is %s, want %s", found[0], want)
		}
	})
}

func TestParseRows(t *testing.T) {
	fields := []string{"index", "uuid"}
	rows := rowsOf(t, "\n0, GPU-1\r\n1,GPU-2\n", fields...)
	if len(rows) != 2 || rows[1]["uuid"] != "GPU-2" || rows[0]["uuid"] != "GPU-1" {
		t.Errorf("the rows are %v, want those of GPU-1 and GPU-2", rows)
	}
	if rows, err := parseRows("No devices were found\n", fields); err == nil {
		t.Errorf("a message is read as the rows %v, want an error", rows)
	}
	for value, want := range map[string]string{
		"[N/A]": "", "N/A": "", "[Not Supported]": "", "[Unknown Error]": "",
		"Default": "Default", "": "",
	} {
		if got := (row{"f": value}).known("f"); got != want {
			t.Errorf("%q is read as %q, want %q", value, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(inventoryCSV, "00000000:1B:00.0")
	f.Add(metricsText, "[N/A]")
	f.Add(",\n,,", "::.")
	f.Fuzz(func(t *testing.T, text, address string) {
		rows, err := parseRows(text, inventoryFields)
		if err == nil && len(rows) > strings.Count(text, "\n")+1 {
			t.Errorf("%q is read as %d rows, which is more than it has lines", text, len(rows))
		}
		compareInventory(rows, inventoryOf())
		compareSamples(rows, parseFigures(text))
		if form := pciForm(address); pciForm(form) != form {
			t.Errorf("%q becomes %q, and that becomes %q", address, form, pciForm(form))
		}
	})
}

// metricsText is what the metrics endpoint says about two GPUs. The second one does not report its
// utilization and its power.
const metricsText = `# HELP gpulaunch_gpu_memory_used_bytes Memory of the GPU that is in use.
# TYPE gpulaunch_gpu_memory_used_bytes gauge
gpulaunch_gpu_memory_used_bytes{gpu="0",uuid="GPU-a"} 6.6060288e+08
gpulaunch_gpu_memory_used_bytes{gpu="1",uuid="GPU-b"} 1.048576e+07
gpulaunch_gpu_utilization_ratio{gpu="0",uuid="GPU-a"} 0.99
gpulaunch_gpu_temperature_celsius{gpu="0",uuid="GPU-a"} 41
gpulaunch_gpu_temperature_celsius{gpu="1",uuid="GPU-b"} 30
gpulaunch_gpu_power_watts{gpu="0",uuid="GPU-a"} 320.5
gpulaunch_gpu_power_limit_watts{gpu="0",uuid="GPU-a"} 700
gpulaunch_gpu_sm_clock_hertz{gpu="0",uuid="GPU-a"} 1.98e+09
gpulaunch_gpu_sm_clock_hertz{gpu="1",uuid="GPU-b"} 2.1e+08
gpulaunch_gpu_memory_clock_hertz{gpu="0",uuid="GPU-a"} 2.619e+09
gpulaunch_gpu_memory_clock_hertz{gpu="1",uuid="GPU-b"} 4.05e+08
gpulaunch_gpu_sample_time_seconds 1.7e+09
`

const samplesCSV = `0, GPU-a, 630, 99, 41, 320.50, 1980, 2619, 700.00
1, GPU-b, 10, [N/A], 30, [Not Supported], 210, 405, [N/A]
`

func TestCompareSamples(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		want     []string
	}{
		"no difference":          {"", "", nil},
		"a little memory":        {" 630,", " 690,", nil},
		"memory":                 {" 630,", " 700,", []string{"GPU 0 memory.used"}},
		"utilization":            {" 99,", " 60,", []string{"GPU 0 utilization.gpu"}},
		"temperature":            {" 41,", " 52,", []string{"GPU 0 temperature.gpu"}},
		"power":                  {" 320.50,", " 90.00,", []string{"GPU 0 power.draw"}},
		"SM clock":               {" 1980,", " 1400,", []string{"GPU 0 clocks.sm"}},
		"memory clock":           {" 405,", " 2619,", []string{"GPU 1 clocks.mem"}},
		"power limit":            {" 700.00", " 698.50", []string{"GPU 0 enforced.power.limit"}},
		"an unknown power limit": {" 700.00", " [N/A]", []string{"GPU 0 enforced.power.limit"}},
		"a known utilization":    {"10, [N/A],", "10, 0,", []string{"GPU 1 utilization.gpu"}},
		"not a number":           {" 41,", " ERR!,", []string{"GPU 0 temperature.gpu"}},
		"samples of another GPU": {"1, GPU-b", "1, GPU-c", []string{
			"GPU 1 memory.used", "GPU 1 temperature.gpu", "GPU 1 clocks.sm", "GPU 1 clocks.mem",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			rows := rowsOf(t, strings.Replace(samplesCSV, c.old, c.new, 1), sampleQuery()...)
			found := differences(compareSamples(rows, parseFigures(metricsText)))
			if diff := cmp.Diff(c.want, names(found)); diff != "" {
				t.Errorf("-want +got\n%s\n%v", diff, found)
			}
		})
	}
}

func TestCompareDriverFiles(t *testing.T) {
	rows := rowsOf(t, inventoryCSV, inventoryFields...)
	inv := inventoryOf()
	inv.Source = gpu.SourceDriver
	if found := differences(compareDriverFiles(rows, inv)); found != nil {
		t.Errorf("found the differences %v, want none", found)
	}
	inv.Devices[0].Name = "NVIDIA H100 PCIe"
	inv.Devices[1].UUID, inv.Devices[2].PCIBusID = "", "0000:e2:00.0"
	want := []string{"GPU 0 name", "GPU 1 uuid", "GPU 2 pci.bus_id"}
	if diff := cmp.Diff(want, names(differences(compareDriverFiles(rows, inv)))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestCheckPinned(t *testing.T) {
	whole := visible{UUID: uuid0, Name: "NVIDIA H100 80GB HBM3", PCI: "0000:1B:00.0"}
	other := visible{UUID: uuid2, Name: "NVIDIA GeForce RTX 4090", PCI: "0000:E1:00.0"}
	instance := visible{UUID: mig1, Name: "NVIDIA A100-SXM4-40GB MIG 1g.5gb", PCI: "0001:C1:00.0"}
	torch := visible{Name: whole.Name} // before PyTorch 2.4, which shows the UUID
	parent, moved, renamed := instance, whole, torch
	parent.UUID, moved.PCI, renamed.Name = uuid1, other.PCI, other.Name
	const gpu0, mig = "GPU-" + uuid0, "MIG-" + mig1
	for name, c := range map[string]struct {
		uuid    string
		devices []visible
		want    string // a part of the error
	}{
		"its own GPU":                  {gpu0, []visible{whole}, ""},
		"an old PyTorch":               {gpu0, []visible{torch}, ""},
		"its own instance":             {mig, []visible{instance}, ""},
		"the GPU of its instance":      {mig, []visible{parent}, ""},
		"no device":                    {gpu0, nil, "sees 0 devices"},
		"two devices":                  {gpu0, []visible{whole, other}, "sees 2 devices"},
		"another GPU":                  {gpu0, []visible{other}, "CUDA shows it"},
		"a GPU in another place":       {gpu0, []visible{moved}, "0000:1b:00.0"},
		"a GPU with another name":      {gpu0, []visible{renamed}, "CUDA calls it"},
		"a GPU, not an instance":       {mig, []visible{whole}, "CUDA shows it"},
		"the GPU of another instance":  {gpu0, []visible{parent}, "CUDA shows it"},
		"a UUID that does not exist":   {"GPU-0", []visible{whole}, "does not list"},
		"a worker that is not told it": {"", []visible{whole}, "does not list"},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkPinned(report{UUID: c.uuid, Devices: c.devices}, inventoryOf())
			switch {
			case c.want == "" && err != nil:
				t.Errorf("the error is %v, want none", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("the error is %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestComputeProcesses(t *testing.T) {
	const ok, noted, failed = "", "a note", "an error"
	for name, c := range map[string]struct {
		computeProcesses
		want string
	}{
		"listed": {computeProcesses{ours: []int{3, 7}, before: 1, after: 2}, ok},
		"not counted": {
			computeProcesses{ours: []int{3, 7}, smi: []int{3, 7}, before: 1, after: 1}, failed},
		"not listed": {computeProcesses{ours: []int{9}, smi: []int{9}, after: 1}, failed},
		"isolated, the same": {
			computeProcesses{ours: []int{9, 4}, smi: []int{4, 9}, after: 2, isolated: true}, noted},
		"isolated, nobody": {computeProcesses{isolated: true}, noted},
		"isolated, others": {
			computeProcesses{ours: []int{9}, smi: []int{8}, after: 1, isolated: true}, failed},
		"isolated, not counted": {
			computeProcesses{ours: []int{9}, smi: []int{9}, isolated: true}, failed},
	} {
		t.Run(name, func(t *testing.T) {
			c.pid = 7
			note, err := c.check()
			if (note != "") != (c.want == noted) || (err != nil) != (c.want == failed) {
				t.Errorf("check returns the note %q and the error %v, want %q", note, err, c.want)
			}
		})
	}
}

func TestCheckGrown(t *testing.T) {
	rep := report{PID: 7, UUID: "MIG-1", Bytes: 100}
	memory := func(n float64) figures { return figures{"MIG-1": {"memory_used_bytes": n}} }
	if err := checkGrown(rep, memory(5), memory(105)); err != nil {
		t.Errorf("100 more bytes for a worker that holds 100: %v", err)
	}
	if checkGrown(rep, memory(5), memory(104)) == nil {
		t.Error("99 more bytes for a worker that holds 100 are accepted")
	}
	if checkGrown(rep, memory(5), figures{}) == nil {
		t.Error("metrics without the GPU are accepted")
	}
}

func TestCheckFreed(t *testing.T) {
	rep := report{PID: 7, UUID: "MIG-1", Bytes: 100}
	use := func(mebibytes uint64, pids ...int) usage {
		return usage{
			pids: map[string][]int{"MIG-1": pids}, memory: map[string]uint64{"GPU-1": mebibytes},
			gpu: map[string]string{"MIG-1": "GPU-1"},
		}
	}
	if err := checkFreed(rep, use(10, 3), use(70, 3)); err != nil {
		t.Errorf("60 MiB more are refused: %v", err)
	}
	for name, after := range map[string]usage{
		"the worker": use(10, 7), "another process": use(10, 3, 4), "65 MiB": use(75, 3),
	} {
		if checkFreed(rep, use(10, 3), after) == nil {
			t.Errorf("%s may be left", name)
		}
	}
}

func TestCUDAVersion(t *testing.T) {
	for table, want := range map[string]string{
		"| NVIDIA-SMI 550.54   Driver Version: 550.54   CUDA Version: 12.4     |": "12.4",
		"| Driver Version: 595.1   CUDA UMD Version: 13.2 |":                      "13.2",
		"| Driver Version: 384.183 |":                                             "",
		"| CUDA Version: N/A |":                                                   "",
	} {
		if got := cudaVersion(table); got != want {
			t.Errorf("the CUDA version in %q is %q, want %q", table, got, want)
		}
	}
}

func TestEventComplaint(t *testing.T) {
	const xids = "gpulaunch: XIDs will not be told: "
	for stderr, want := range map[string]struct{ complains, excused bool }{
		"gpulaunch: 1 worker on GPU 0; NVML\n": {},

		"gpulaunch: 1 worker\n" + xids +
			"no events come from GPU 0 (not supported)\n": {true, true},

		xids + "NVML has no events: argument version not supported\n":    {true, false},
		xids + "3 GPU probes ended\n":                                    {true, false},
		"gpulaunch: NVML has no events: the permission is missing\n":     {true, true},
		"gpulaunch: NVML cannot wait for events: unknown error\n":        {true, false},
		"gpulaunch: 3 GPU probes ended while they listened for events\n": {true, false},
	} {
		line, excused := eventComplaint(stderr)
		if (line != "") != want.complains || excused != want.excused {
			t.Errorf("in %q the complaint is %q, and it is excused: %v; want %+v",
				stderr, line, excused, want)
		}
	}
}

func TestCheckNoDriverFiles(t *testing.T) {
	if err := checkNoDriverFiles([]string{"pipe:[1]", "/dev/null", "/dev/pts/0"}); err != nil {
		t.Errorf("files that are not the driver's are refused: %v", err)
	}
	if checkNoDriverFiles([]string{"/dev/null", "/dev/nvidia-uvm"}) == nil {
		t.Error("/dev/nvidia-uvm is accepted")
	}
}

func TestVerifiedOn(t *testing.T) {
	const want = "verified on: 1 × NVIDIA H100 80GB HBM3, 1 × NVIDIA A100-SXM4-40GB, " +
		"1 × NVIDIA GeForce RTX 4090 | 550.54.15 | 12.4 | 6.8.0"
	if line, err := verifiedOn(inventoryOf(), "6.8.0"); line != want || err != nil {
		t.Errorf("the line is %q (%v), want %q", line, err, want)
	}
}

func TestShortened(t *testing.T) {
	inv := gpu.Inventory{Devices: []gpu.Device{
		{UUID: "GPU-0123456789"}, {UUID: "GPU-0123456788"}, {UUID: "GPU-1123456789"},
	}}
	got := []string{shortened("GPU-0123456789", inv), shortened("GPU-1123456789", inv)}
	if want := []string{"GPU-0123456789", "GPU-11234567"}; !slices.Equal(got, want) {
		t.Errorf("the short forms are %q, want %q", got, want)
	}
}

// TestQueryOfAnOlderNvidiaSMI wants query to leave out fields that nvidia-smi does not know, and to
// return all other errors.
func TestQueryOfAnOlderNvidiaSMI(t *testing.T) {
	u := newFakeRig(t, eight())
	rows, err := u.query("gpu", "index", "warp.factor", "uuid", "shields")
	if err != nil || len(rows) != 8 {
		t.Fatalf("query returns %d rows (%v), want 8: %v", len(rows), err, rows)
	}
	want := row{"index": "7", "uuid": u.machine.Devices[7].UUID}
	if diff := cmp.Diff(want, rows[7]); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	_, err = u.query("gpu", "shields")
	if err == nil || !strings.Contains(err.Error(), "shields") {
		t.Errorf("without any field that nvidia-smi knows, query returns the error %v", err)
	}
}
