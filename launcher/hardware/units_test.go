//go:build linux

package hardware

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// What nvidia-smi prints, in its format, of GPUs that do not exist: a data-centre
// card, one in MIG mode whose memory only the administrator may know, and a
// desktop card that has neither ECC nor MIG, on a driver that says so in the
// older words.
const inventoryCSV = `0, NVIDIA H100 80GB HBM3, GPU-1c9e6f5a-0b1d-4c2e-8f3a-5d6e7f809102, 00000000:1B:00.0, 81559, Default, Enabled, Enabled, Disabled, 550.54.15
1, NVIDIA A100-SXM4-40GB, GPU-2d0f7a6b-1c2e-4d3f-9a4b-6e7f8091a213, 00000001:C1:00.0, [Insufficient Permissions], Exclusive_Process, Enabled, Disabled, Enabled, 550.54.15
2, NVIDIA GeForce RTX 4090, GPU-3e1a8b7c-2d3f-4e4a-8b5c-7f8091a2b324, 00000000:E1:00.0, 24564, Default, Disabled, [N/A], [Not Supported], 550.54.15
`

// inventoryOf is the inventory of the same machine as gpulaunch says it.
func inventoryOf() gpu.Inventory {
	return gpu.Inventory{Source: gpu.SourceNVML, DriverVersion: "550.54.15", CUDAVersion: "12.4", Devices: []gpu.Device{
		{Index: 0, Name: "NVIDIA H100 80GB HBM3", UUID: "GPU-1c9e6f5a-0b1d-4c2e-8f3a-5d6e7f809102", PCIBusID: "0000:1b:00.0",
			MemoryTotalBytes: 81559 << 20, ComputeMode: "default", Persistence: new(true), ECC: new(true)},
		{Index: 1, Name: "NVIDIA A100-SXM4-40GB", UUID: "GPU-2d0f7a6b-1c2e-4d3f-9a4b-6e7f8091a213", PCIBusID: "0001:c1:00.0",
			ComputeMode: "exclusive-process", Persistence: new(true), ECC: new(false), MIG: true,
			MIGInstances: []gpu.MIGInstance{{UUID: "MIG-4f2b9c8d-3e4a-5f5b-9c6d-8091a2b3c435"}}},
		{Index: 2, Name: "NVIDIA GeForce RTX 4090", UUID: "GPU-3e1a8b7c-2d3f-4e4a-8b5c-7f8091a2b324", PCIBusID: "0000:e1:00.0",
			MemoryTotalBytes: 24564 << 20, ComputeMode: "default", Persistence: new(false)},
	}}
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

func TestCompareInventory(t *testing.T) {
	rows := rowsOf(t, inventoryCSV, inventoryFields...)
	for name, c := range map[string]struct {
		change func(*gpu.Inventory)
		want   []string
	}{
		"the same":             {func(*gpu.Inventory) {}, nil},
		"another UUID":         {func(inv *gpu.Inventory) { inv.Devices[1].UUID = "GPU-2d0f7a6b-1c2e-4d3f-9a4b-6e7f8091a214" }, []string{"GPU 1 uuid"}},
		"another bus":          {func(inv *gpu.Inventory) { inv.Devices[0].PCIBusID = "0000:1c:00.0" }, []string{"GPU 0 pci.bus_id"}},
		"another domain":       {func(inv *gpu.Inventory) { inv.Devices[1].PCIBusID = "0000:c1:00.0" }, []string{"GPU 1 pci.bus_id"}},
		"a MiB for rounding":   {func(inv *gpu.Inventory) { inv.Devices[0].MemoryTotalBytes -= 1 << 20 }, nil},
		"less memory":          {func(inv *gpu.Inventory) { inv.Devices[0].MemoryTotalBytes -= 2 << 20 }, []string{"GPU 0 memory.total"}},
		"a forbidden answer":   {func(inv *gpu.Inventory) { inv.Devices[1].MemoryTotalBytes = 40 << 30 }, []string{"GPU 1 memory.total"}},
		"ECC made up":          {func(inv *gpu.Inventory) { inv.Devices[2].ECC = new(false) }, []string{"GPU 2 ecc.mode.current"}},
		"ECC not told":         {func(inv *gpu.Inventory) { inv.Devices[0].ECC = nil }, []string{"GPU 0 ecc.mode.current"}},
		"split after all":      {func(inv *gpu.Inventory) { inv.Devices[2].MIG = true }, []string{"GPU 2 mig.mode.current"}},
		"compute mode":         {func(inv *gpu.Inventory) { inv.Devices[1].ComputeMode = "default" }, []string{"GPU 1 compute_mode"}},
		"persistence":          {func(inv *gpu.Inventory) { inv.Devices[2].Persistence = new(true) }, []string{"GPU 2 persistence_mode"}},
		"one too few":          {func(inv *gpu.Inventory) { inv.Devices = inv.Devices[:2] }, []string{"number of GPUs"}},
		"none at all":          {func(inv *gpu.Inventory) { inv.Source, inv.Devices = gpu.SourceNone, nil }, []string{"source", "number of GPUs"}},
		"two in another order": {func(inv *gpu.Inventory) { inv.Devices[0].Index, inv.Devices[2].Index = 2, 0 }, []string{"GPU 0 index", "GPU 2 index"}},
		"another driver": {func(inv *gpu.Inventory) { inv.DriverVersion = "535.1" },
			[]string{"GPU 0 driver_version", "GPU 1 driver_version", "GPU 2 driver_version"}},
	} {
		t.Run(name, func(t *testing.T) {
			inv := inventoryOf()
			c.change(&inv)
			found := differences(compareInventory(rows, inv))
			if diff := cmp.Diff(c.want, names(found)); diff != "" {
				t.Errorf("%s\n%v", diff, found)
			}
		})
	}
	t.Run("both values in the message", func(t *testing.T) {
		inv := inventoryOf()
		inv.Devices[0].ECC = nil
		const want = `GPU 0 ecc.mode.current: nvidia-smi says "Enabled", gpulaunch says nothing`
		if found := differences(compareInventory(rows, inv)); found[0].String() != want {
			t.Errorf("got %s, want %s", found[0], want)
		}
	})
}

func TestParseRows(t *testing.T) {
	fields := []string{"index", "uuid"}
	if rows := rowsOf(t, "\n0, GPU-1\r\n1,GPU-2\n", fields...); len(rows) != 2 || rows[1]["uuid"] != "GPU-2" || rows[0]["uuid"] != "GPU-1" {
		t.Errorf("got %v", rows)
	}
	if rows, err := parseRows("No devices were found\n", fields); err == nil {
		t.Errorf("no error, but %v", rows)
	}
	for value, want := range map[string]string{"[N/A]": "", "N/A": "", "[Not Supported]": "", "[Unknown Error]": "", "Default": "Default", "": ""} {
		if got := (row{"f": value}).known("f"); got != want {
			t.Errorf("%q is %q, want %q", value, got, want)
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
			t.Errorf("%d rows of %q", len(rows), text)
		}
		compareInventory(rows, inventoryOf())
		compareSamples(rows, parseFigures(text))
		if form := pciForm(address); pciForm(form) != form {
			t.Errorf("%q becomes %q and then %q", address, form, pciForm(form))
		}
	})
}

// metricsText is what the metrics endpoint says of two GPUs, of which the second
// one does not tell its utilization, and neither power figure.
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
		"the same":               {"", "", nil},
		"memory, a little":       {" 630,", " 690,", nil},
		"memory":                 {" 630,", " 700,", []string{"GPU 0 memory.used"}},
		"utilization":            {" 99,", " 60,", []string{"GPU 0 utilization.gpu"}},
		"temperature":            {" 41,", " 52,", []string{"GPU 0 temperature.gpu"}},
		"power":                  {" 320.50,", " 90.00,", []string{"GPU 0 power.draw"}},
		"SM clock":               {" 1980,", " 1400,", []string{"GPU 0 clocks.sm"}},
		"memory clock":           {" 405,", " 2619,", []string{"GPU 1 clocks.mem"}},
		"power limit":            {" 700.00", " 698.50", []string{"GPU 0 enforced.power.limit"}},
		"power limit unknown":    {" 700.00", " [N/A]", []string{"GPU 0 enforced.power.limit"}},
		"utilization known":      {"10, [N/A],", "10, 0,", []string{"GPU 1 utilization.gpu"}},
		"a number that is none":  {" 41,", " ERR!,", []string{"GPU 0 temperature.gpu"}},
		"figures of another GPU": {"1, GPU-b", "1, GPU-c", []string{"GPU 1 memory.used", "GPU 1 temperature.gpu", "GPU 1 clocks.sm", "GPU 1 clocks.mem"}},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(samplesCSV, c.old, c.new, 1)
			found := differences(compareSamples(rowsOf(t, text, sampleQuery()...), parseFigures(metricsText)))
			if diff := cmp.Diff(c.want, names(found)); diff != "" {
				t.Errorf("%s\n%v", diff, found)
			}
		})
	}
}

func TestCompareDriverFiles(t *testing.T) {
	rows := rowsOf(t, inventoryCSV, inventoryFields...)
	inv := inventoryOf()
	inv.Source = gpu.SourceDriver
	if found := differences(compareDriverFiles(rows, inv)); found != nil {
		t.Error(found)
	}
	inv.Devices[1].UUID, inv.Devices[2].PCIBusID, inv.Devices[0].Name = "", "0000:e2:00.0", "NVIDIA H100 PCIe"
	want := []string{"GPU 0 name", "GPU 1 uuid", "GPU 2 pci.bus_id"}
	if diff := cmp.Diff(want, names(differences(compareDriverFiles(rows, inv)))); diff != "" {
		t.Error(diff)
	}
}

func TestPinned(t *testing.T) {
	whole := visible{UUID: "1c9e6f5a-0b1d-4c2e-8f3a-5d6e7f809102", Name: "NVIDIA H100 80GB HBM3", PCI: "0000:1B:00.0"}
	other := visible{UUID: "3e1a8b7c-2d3f-4e4a-8b5c-7f8091a2b324", Name: "NVIDIA GeForce RTX 4090", PCI: "0000:E1:00.0"}
	part := visible{UUID: "4f2b9c8d-3e4a-5f5b-9c6d-8091a2b3c435", Name: "NVIDIA A100-SXM4-40GB MIG 1g.5gb", PCI: "0001:C1:00.0"}
	torch := visible{Name: whole.Name} // before it told the UUID
	parent := part
	parent.UUID = "2d0f7a6b-1c2e-4d3f-9a4b-6e7f8091a213"
	elsewhere := whole
	elsewhere.PCI = other.PCI
	renamed := torch
	renamed.Name = other.Name
	const gpu0, mig = "GPU-1c9e6f5a-0b1d-4c2e-8f3a-5d6e7f809102", "MIG-4f2b9c8d-3e4a-5f5b-9c6d-8091a2b3c435"
	for name, c := range map[string]struct {
		uuid    string
		devices []visible
		want    string // in the error
	}{
		"its own":          {gpu0, []visible{whole}, ""},
		"an old PyTorch":   {gpu0, []visible{torch}, ""},
		"an instance":      {mig, []visible{part}, ""},
		"an instance's":    {mig, []visible{parent}, ""},
		"none":             {gpu0, nil, "sees 0 devices"},
		"two":              {gpu0, []visible{whole, other}, "sees 2 devices"},
		"another":          {gpu0, []visible{other}, "CUDA shows it"},
		"another's place":  {gpu0, []visible{elsewhere}, "0000:1b:00.0"},
		"another's name":   {gpu0, []visible{renamed}, "CUDA calls it"},
		"not an instance":  {mig, []visible{whole}, "CUDA shows it"},
		"unknown":          {"GPU-0", []visible{whole}, "does not list"},
		"not told of any":  {"", []visible{whole}, "does not list"},
		"the whole of two": {gpu0, []visible{parent}, "CUDA shows it"},
	} {
		t.Run(name, func(t *testing.T) {
			err := pinned(report{UUID: c.uuid, Devices: c.devices}, inventoryOf())
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want something with %q", err, c.want)
			}
		})
	}
}

func TestComputing(t *testing.T) {
	for name, c := range map[string]struct {
		computing
		noted, fails bool
	}{
		"listed":                  {computing{pid: 7, ours: []int{3, 7}, before: 1, after: 2}, false, false},
		"not counted":             {computing{pid: 7, ours: []int{3, 7}, theirs: []int{3, 7}, before: 1, after: 1}, false, true},
		"not listed":              {computing{pid: 7, ours: []int{9}, theirs: []int{9}, after: 1}, false, true},
		"isolated, as nvidia-smi": {computing{pid: 7, ours: []int{9, 4}, theirs: []int{4, 9}, after: 2, isolated: true}, true, false},
		"isolated, nobody":        {computing{pid: 7, isolated: true}, true, false},
		"isolated, others":        {computing{pid: 7, ours: []int{9}, theirs: []int{8}, after: 1, isolated: true}, false, true},
		"isolated, not counted":   {computing{pid: 7, ours: []int{9}, theirs: []int{9}, isolated: true}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			note, err := c.check()
			if (note != "") != c.noted || (err != nil) != c.fails {
				t.Errorf("got %q, %v", note, err)
			}
		})
	}
}

func TestRoseAndLeft(t *testing.T) {
	rep := report{PID: 7, UUID: "MIG-1", Bytes: 100}
	memory := func(n float64) figures { return figures{"MIG-1": {"memory_used_bytes": n}} }
	if err := rose(rep, memory(5), memory(105)); err != nil {
		t.Error(err)
	}
	if rose(rep, memory(5), memory(104)) == nil || rose(rep, memory(5), figures{}) == nil {
		t.Error("memory that does not appear is not found out")
	}
	use := func(mebibytes uint64, pids ...int) usage {
		return usage{pids: map[string][]int{"MIG-1": pids}, memory: map[string]uint64{"GPU-1": mebibytes}, gpu: map[string]string{"MIG-1": "GPU-1"}}
	}
	if err := left(rep, use(10, 3), use(70, 3)); err != nil {
		t.Error(err)
	}
	for name, after := range map[string]usage{"the worker": use(10, 7), "one more": use(10, 3, 4), "memory": use(75, 3)} {
		if left(rep, use(10, 3), after) == nil {
			t.Errorf("%s is left and not found out", name)
		}
	}
}

func TestTexts(t *testing.T) {
	for table, want := range map[string]string{
		"| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4     |": "12.4",
		"| Driver Version: 595.1   CUDA UMD Version: 13.2 |":                            "13.2",
		"| Driver Version: 384.183 |":                                                   "",
		"| CUDA Version: N/A |":                                                         "",
	} {
		if got := cudaVersion(table); got != want {
			t.Errorf("the CUDA version in %q is %q, want %q", table, got, want)
		}
	}
	for stderr, want := range map[string]struct{ complains, excused bool }{
		"gpulaunch: 1 worker on GPU 0; NVML\n": {},
		"gpulaunch: 1 worker\ngpulaunch: XIDs will not be told: no events come from GPU 0 (not supported)\n": {true, true},
		"gpulaunch: XIDs will not be told: NVML has no events: argument version not supported\n":             {true, false},
		"gpulaunch: XIDs will not be told: 3 GPU probes ended\n":                                             {true, false},
		"gpulaunch: NVML has no events: the permission is missing\n":                                         {true, true},
		"gpulaunch: NVML cannot wait for events: unknown error\n":                                            {true, false},
		"gpulaunch: 3 GPU probes in a row ended while they listened for events; the next do not\n":           {true, false},
	} {
		line, excused := eventComplaint(stderr)
		if (line != "") != want.complains || excused != want.excused {
			t.Errorf("%q: got %q, %v", stderr, line, excused)
		}
	}
	if err := heldFiles([]string{"pipe:[1]", "/dev/null", "/dev/pts/0"}); err != nil {
		t.Error(err)
	}
	if heldFiles([]string{"/dev/null", "/dev/nvidia-uvm"}) == nil {
		t.Error("a file of the driver is not found out")
	}
	line, err := verifiedOn(inventoryOf(), "6.8.0")
	const want = "verified on: 1 × NVIDIA H100 80GB HBM3, 1 × NVIDIA A100-SXM4-40GB, 1 × NVIDIA GeForce RTX 4090 | 550.54.15 | 12.4 | 6.8.0"
	if line != want || err != nil {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestShortened(t *testing.T) {
	inv := gpu.Inventory{Devices: []gpu.Device{{UUID: "GPU-0123456789"}, {UUID: "GPU-0123456788"}, {UUID: "GPU-1123456789"}}}
	got := []string{shortened("GPU-0123456789", inv), shortened("GPU-1123456789", inv)}
	if !slices.Equal(got, []string{"GPU-0123456789", "GPU-11234567"}) {
		t.Errorf("got %q", got)
	}
}

// TestQueryOfAnOlderNvidiaSMI leaves a field out that it does not know, and no
// other failure.
func TestQueryOfAnOlderNvidiaSMI(t *testing.T) {
	u := makeUp(t, eight())
	rows, err := u.query("gpu", "index", "warp.factor", "uuid", "shields")
	if err != nil || len(rows) != 8 {
		t.Fatalf("got %v, %v", rows, err)
	}
	if diff := cmp.Diff(row{"index": "7", "uuid": u.machine.Devices[7].UUID}, rows[7]); diff != "" {
		t.Error(diff)
	}
	if _, err := u.query("gpu", "shields"); err == nil || !strings.Contains(err.Error(), "shields") {
		t.Errorf("with nothing left to ask for: %v", err)
	}
}
