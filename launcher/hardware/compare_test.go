//go:build linux

package hardware

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// comparison is one thing as nvidia-smi and as gpulaunch say it. "" is unknown.
type comparison struct {
	name         string // "GPU 0 uuid"
	theirs, ours string
	same         bool
}

func (c comparison) String() string {
	return fmt.Sprintf("%s: nvidia-smi says %s, gpulaunch says %s", c.name, quotedOrUnknown(c.theirs), quotedOrUnknown(c.ours))
}

func quotedOrUnknown(s string) string {
	if s == "" {
		return "nothing"
	}
	return strconv.Quote(s)
}

// equal compares two texts.
func equal(name, theirs, ours string) comparison {
	return comparison{name, theirs, ours, theirs == ours}
}

// inventoryFields are those of an inventory.
var inventoryFields = []string{"index", "name", "uuid", "pci.bus_id", "memory.total", "compute_mode",
	"persistence_mode", "ecc.mode.current", "mig.mode.current", "driver_version"}

// compareInventory holds a GPU's fields against nvidia-smi's, GPU by GPU: both
// count in PCI order. A field that nvidia-smi was not asked for is left out.
func compareInventory(rows []row, inv gpu.Inventory) []comparison {
	list := []comparison{
		equal("source", gpu.SourceNVML, inv.Source),
		equal("number of GPUs", strconv.Itoa(len(rows)), strconv.Itoa(len(inv.Devices))),
	}
	for i, r := range rows {
		if i < len(inv.Devices) {
			list = append(list, compareDevice(r, inv.Devices[i], inv.DriverVersion)...)
		}
	}
	return list
}

func compareDevice(r row, d gpu.Device, driver string) (list []comparison) {
	ours := map[string]string{
		"index": strconv.Itoa(d.Index), "name": d.Name, "uuid": d.UUID, "pci.bus_id": d.PCIBusID,
		"memory.total": mebibytes(d.MemoryTotalBytes), "compute_mode": d.ComputeMode,
		"persistence_mode": onOff(d.Persistence), "ecc.mode.current": onOff(d.ECC),
		"mig.mode.current": onOff(&d.MIG), "driver_version": driver,
	}
	for _, field := range inventoryFields {
		if _, asked := r[field]; !asked {
			continue
		}
		c := equal(fmt.Sprintf("GPU %s %s", r["index"], field), inOurForm(field, r.known(field)), ours[field])
		if field == "memory.total" && !c.same { // nvidia-smi may round
			c.same = near(c.theirs, c.ours, 1)
		}
		list = append(list, c)
	}
	return list
}

// inOurForm writes a known value of nvidia-smi as gpulaunch writes it.
func inOurForm(field, value string) string {
	switch field {
	case "pci.bus_id":
		return pciForm(value)
	case "compute_mode": // Exclusive_Process
		return strings.ReplaceAll(strings.ToLower(value), "_", "-")
	case "mig.mode.current":
		if value == "" { // cards that cannot be split
			return "Disabled"
		}
	}
	return value
}

// pciForm writes a PCI address as sysfs does: nvidia-smi has eight digits of
// domain, in upper case.
func pciForm(address string) string {
	var domain, bus, device, function uint
	if n, err := fmt.Sscanf(address, "%x:%x:%x.%x", &domain, &bus, &device, &function); n != 4 || err != nil {
		return address
	}
	return fmt.Sprintf("%04x:%02x:%02x.%x", domain, bus, device, function)
}

func mebibytes(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n>>20, 10)
}

func onOff(b *bool) string {
	switch {
	case b == nil:
		return ""
	case *b:
		return "Enabled"
	}
	return "Disabled"
}

func near(a, b string, tolerance float64) bool {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && math.Abs(x-y) <= tolerance
}

// compareDriverFiles holds what the kernel driver's files say against nvidia-smi.
func compareDriverFiles(rows []row, inv gpu.Inventory) []comparison {
	list := []comparison{
		equal("source", gpu.SourceDriver, inv.Source),
		equal("number of GPUs", strconv.Itoa(len(rows)), strconv.Itoa(len(inv.Devices))),
	}
	for i, r := range rows {
		if i >= len(inv.Devices) {
			break
		}
		d := inv.Devices[i]
		for _, c := range []comparison{
			equal("uuid", r.known("uuid"), d.UUID),
			equal("pci.bus_id", pciForm(r.known("pci.bus_id")), d.PCIBusID),
			equal("name", r.known("name"), d.Name),
		} {
			c.name = fmt.Sprintf("GPU %s %s", r["index"], c.name)
			list = append(list, c)
		}
	}
	return list
}

// figures are the series of GPUs and MIG instances, by UUID and name.
type figures map[string]map[string]float64

var gpuSeries = regexp.MustCompile(`(?m)^gpulaunch_gpu_(\w+)\{gpu="\d+",uuid="([^"]+)"\} (\S+)$`)

// parseFigures reads the metrics endpoint's text.
func parseFigures(body string) figures {
	f := figures{}
	for _, m := range gpuSeries.FindAllStringSubmatch(body, -1) {
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			continue
		}
		if f[m[2]] == nil {
			f[m[2]] = map[string]float64{}
		}
		f[m[2]][m[1]] = value
	}
	return f
}

// sampleField is a figure under both of its names. Two samples are never of the
// same moment, so they may differ by least or by a share of nvidia-smi's,
// whichever is more.
type sampleField struct {
	theirs, ours string
	unit         float64 // of theirs in ours
	least        float64 // in their unit
	share        float64
}

var sampleFields = []sampleField{
	{"memory.used", "memory_used_bytes", 1 << 20, 64, 0.05},
	{"utilization.gpu", "utilization_ratio", 0.01, 30, 0},
	{"temperature.gpu", "temperature_celsius", 1, 10, 0},
	{"power.draw", "power_watts", 1, 60, 0.3},
	{"clocks.sm", "sm_clock_hertz", 1e6, 300, 0.25},
	{"clocks.mem", "memory_clock_hertz", 1e6, 300, 0.25},
	{"enforced.power.limit", "power_limit_watts", 1, 1, 0},
}

// sampleQuery are the fields to ask nvidia-smi for.
func sampleQuery() []string {
	fields := []string{"index", "uuid"}
	for _, f := range sampleFields {
		fields = append(fields, f.theirs)
	}
	return fields
}

// compareSamples holds figures against nvidia-smi's, in its units.
func compareSamples(rows []row, f figures) (list []comparison) {
	for _, r := range rows {
		ours := f[r["uuid"]]
		for _, field := range sampleFields {
			if _, asked := r[field.theirs]; !asked {
				continue
			}
			list = append(list, field.compare(r, ours))
		}
	}
	return list
}

func (f sampleField) compare(r row, ours map[string]float64) comparison {
	c := comparison{name: fmt.Sprintf("GPU %s %s", r["index"], f.theirs), theirs: r.known(f.theirs)}
	value, have := ours[f.ours]
	value /= f.unit
	if have {
		c.ours = strconv.FormatFloat(value, 'f', 2, 64)
	}
	theirs, known := r.number(f.theirs)
	switch {
	case known && have:
		c.same = math.Abs(theirs-value) <= max(f.least, f.share*theirs)
	default:
		c.same = c.theirs == "" && !have
	}
	return c
}

// differences are the comparisons that found one.
func differences(list []comparison) (found []comparison) {
	for _, c := range list {
		if !c.same {
			found = append(found, c)
		}
	}
	return found
}
