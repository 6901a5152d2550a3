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

// comparison is one fact according to nvidia-smi and according to gpulaunch. "" means unknown.
type comparison struct {
	name      string // such as "GPU 0 uuid"
	smi, ours string
	same      bool
}

func (c comparison) String() string {
	return fmt.Sprintf("%s: nvidia-smi says %s, gpulaunch says %s",
		c.name, quoted(c.smi), quoted(c.ours))
}

func quoted(s string) string {
	if s == "" {
		return "nothing"
	}
	return strconv.Quote(s)
}

// equal returns the comparison of two texts that must be equal.
func equal(name, smi, ours string) comparison {
	return comparison{name, smi, ours, smi == ours}
}

// inventoryFields are the fields of nvidia-smi that an inventory has, too.
var inventoryFields = []string{
	"index", "name", "uuid", "pci.bus_id", "memory.total", "compute_mode", "persistence_mode",
	"ecc.mode.current", "mig.mode.current", "driver_version",
}

// compareInventory compares the fields of each GPU. Both programs list the GPUs in PCI order.
// Fields that are not in the rows, because this nvidia-smi does not know them, are left out.
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
		c := equal(fmt.Sprintf("GPU %s %s", r["index"], field),
			inOurForm(field, r.known(field)), ours[field])
		if field == "memory.total" && !c.same { // nvidia-smi may have rounded
			c.same = near(c.smi, c.ours, 1)
		}
		list = append(list, c)
	}
	return list
}

// inOurForm returns a value of nvidia-smi in the form in which gpulaunch writes it.
func inOurForm(field, value string) string {
	switch field {
	case "pci.bus_id":
		return pciForm(value)
	case "compute_mode": // such as Exclusive_Process
		return strings.ReplaceAll(strings.ToLower(value), "_", "-")
	case "mig.mode.current":
		if value == "" { // the card has no MIG mode
			return "Disabled"
		}
	}
	return value
}

// pciForm returns a PCI address in the form of sysfs. nvidia-smi uses upper case and eight digits
// for the domain.
func pciForm(address string) string {
	var domain, bus, device, function uint
	n, err := fmt.Sscanf(address, "%x:%x:%x.%x", &domain, &bus, &device, &function)
	if n != 4 || err != nil {
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

// near reports whether two texts are numbers that differ by at most tolerance.
func near(a, b string, tolerance float64) bool {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && math.Abs(x-y) <= tolerance
}

// compareDriverFiles compares an inventory that comes from the kernel driver's files.
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

// figures are the values of the metrics about a GPU or MIG instance, by UUID and by metric.
type figures map[string]map[string]float64

var gpuSeries = regexp.MustCompile(
	`(?m)^gpulaunch_gpu_(\w+)\{gpu="\d+",uuid="([^"]+)"\} (\S+)$`)

// parseFigures reads the text of the metrics endpoint.
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

// sampleField is a value that both programs sample, under different names. The two samples are
// never taken at the same moment, so they may differ by least or by a share of nvidia-smi's value,
// whichever is more.
type sampleField struct {
	smi, ours string
	unit      float64 // what nvidia-smi's unit is in the unit of gpulaunch
	least     float64 // in nvidia-smi's unit
	share     float64
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

// sampleQuery returns the fields to query from nvidia-smi.
func sampleQuery() []string {
	fields := []string{"index", "uuid"}
	for _, f := range sampleFields {
		fields = append(fields, f.smi)
	}
	return fields
}

// compareSamples compares samples in the units of nvidia-smi.
func compareSamples(rows []row, f figures) (list []comparison) {
	for _, r := range rows {
		ours := f[r["uuid"]]
		for _, field := range sampleFields {
			if _, asked := r[field.smi]; !asked {
				continue
			}
			list = append(list, field.compare(r, ours))
		}
	}
	return list
}

func (f sampleField) compare(r row, ours map[string]float64) comparison {
	c := comparison{name: fmt.Sprintf("GPU %s %s", r["index"], f.smi), smi: r.known(f.smi)}
	value, have := ours[f.ours]
	value /= f.unit
	if have {
		c.ours = strconv.FormatFloat(value, 'f', 2, 64)
	}
	smi, known := r.number(f.smi)
	switch {
	case known && have:
		c.same = math.Abs(smi-value) <= max(f.least, f.share*smi)
	default:
		c.same = c.smi == "" && !have
	}
	return c
}

// differences returns the comparisons that found a difference.
func differences(list []comparison) (found []comparison) {
	for _, c := range list {
		if !c.same {
			found = append(found, c)
		}
	}
	return found
}
