//go:build linux

package main

import (
	"fmt"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// deviceTable prints the GPUs of a machine.
type deviceTable struct {
	inv      gpu.Inventory
	used     map[string]uint64 // bytes, by UUID
	topology *affinity.Topology
	wide     bool
	style    terminal.Style
}

// minName is how short a name may become on a narrow terminal, in cells.
const minName = 8

// deviceColumns holds the columns of the table. The second one holds the names.
var deviceColumns = []terminal.Column{
	{Name: "GPU", Right: true}, {Name: "NAME"}, {Name: "UUID"}, {Name: "PCI"}, {Name: "NUMA"},
	{Name: "MEMORY"}, {Name: "PROCS", Right: true}, {Name: "HEALTH"},
}

func (t deviceTable) String() string {
	var b strings.Builder
	for i, line := range t.lines() {
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		if i > 0 {
			t.details(&b, t.inv.Devices[i-1])
		}
	}
	return b.String()
}

// lines returns the line with the columns' names and a line for each GPU. On a terminal that is
// too narrow, names are truncated.
func (t deviceTable) lines() []string {
	const names = 1
	var rows [][]string
	widest := len(deviceColumns[names].Name)
	for _, d := range t.inv.Devices {
		row := []string{
			fmt.Sprint(d.Index), orDash(t.name(d)), orDash(t.shortUUID(d.UUID)),
			orDash(t.address(d.PCIBusID)), t.node(d), t.memory(d.UUID, d.MemoryTotalBytes),
			t.processCount(d), t.health(d),
		}
		rows = append(rows, row)
		widest = max(widest, terminal.Width(row[names]))
	}
	lines := terminal.Table(deviceColumns, rows)
	over := terminal.Width(lines[0]) - t.style.Width
	if t.wide || t.style.Width == 0 || over <= 0 {
		return lines
	}
	for _, row := range rows {
		row[names] = terminal.Truncate(row[names], max(min(minName, widest), widest-over))
	}
	return terminal.Table(deviceColumns, rows)
}

// name returns the name without the word that all names begin with.
func (t deviceTable) name(d gpu.Device) string {
	name := terminal.Sanitize(d.Name)
	if !t.wide {
		name = strings.TrimPrefix(name, "NVIDIA ")
	}
	return name
}

// address returns the PCI address, without the domain if there is only one, as lspci prints it.
func (t deviceTable) address(pci string) string {
	pci = terminal.Sanitize(pci)
	if t.wide {
		return pci
	}
	for _, d := range t.inv.Devices {
		if d.PCIBusID != "" && !strings.HasPrefix(d.PCIBusID, "0000:") {
			return pci
		}
	}
	return strings.TrimPrefix(pci, "0000:")
}

// shortUUID returns the shortest beginning of at least eight digits that no other GPU has.
// CUDA_VISIBLE_DEVICES accepts it in place of the UUID.
func (t deviceTable) shortUUID(uuid string) string {
	if t.wide {
		return terminal.Sanitize(uuid)
	}
	for n := len("GPU-01234567"); n < len(uuid); n++ {
		alike := 0
		for _, d := range t.inv.Devices {
			if strings.HasPrefix(d.UUID, uuid[:n]) {
				alike++
			}
		}
		if alike == 1 && uuid[n-1] != '-' {
			return terminal.Sanitize(uuid[:n])
		}
	}
	return terminal.Sanitize(uuid)
}

// node returns the NUMA node according to sysfs, else the node of the CPUs that NVML reports.
func (t deviceTable) node(d gpu.Device) string {
	if loc, err := affinity.ReadLocality("", d.PCIBusID); err == nil && loc.NUMANode >= 0 {
		return fmt.Sprint(loc.NUMANode)
	}
	cpus, err := affinity.ParseCPUList(d.CPUAffinity)
	if t.topology == nil || err != nil {
		return "-"
	}
	found := "-"
	for _, node := range t.topology.Nodes {
		if near := node.CPUs.Intersect(cpus); !near.IsEmpty() {
			if found != "-" {
				return "-" // the CPUs are on several nodes, so none is the GPU's own
			}
			found = fmt.Sprint(node.ID)
		}
	}
	return found
}

// memory returns "3.0/80.0 GiB", or only the total if the used memory is not known.
func (t deviceTable) memory(uuid string, total uint64) string {
	used, known := t.used[uuid]
	switch {
	case total == 0:
		return "-"
	case known:
		return fmt.Sprintf("%s/%s GiB", gibibytes(used), gibibytes(total))
	}
	return gibibytes(total) + " GiB"
}

// gibibytes returns a size in GiB. All sizes in the table have that unit, so that they can be
// compared at a glance.
func gibibytes(n uint64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<30)) }

func (t deviceTable) processCount(d gpu.Device) string {
	if t.inv.Source != gpu.SourceNVML {
		return "-"
	}
	return fmt.Sprint(len(d.Processes))
}

// health returns one word about the GPU in its colour, and how many other findings there are.
func (t deviceTable) health(d gpu.Device) string {
	switch {
	case len(d.Findings) > 1:
		text := fmt.Sprintf("%s +%d", d.Findings[0].Code, len(d.Findings)-1)
		return t.style.Paint(terminal.Red, terminal.Sanitize(text))
	case len(d.Findings) == 1:
		return t.style.Paint(terminal.Red, terminal.Sanitize(d.Findings[0].Code))
	case !d.Usable():
		return t.style.Paint(terminal.Red, "unusable")
	case t.inv.Source != gpu.SourceNVML:
		return t.style.Paint(terminal.Yellow, "unknown")
	}
	return t.style.Paint(terminal.Green, "ok")
}

// indent is the indentation of what is printed below a GPU's row.
const indent = "     "

// details prints what a GPU's row has no room for: its problems, its processes and its MIG
// instances.
func (t deviceTable) details(b *strings.Builder, d gpu.Device) {
	paragraph := func(head, text string) {
		b.WriteString(terminal.Hang(indent+head, terminal.Sanitize(text), t.style.Width))
	}
	if len(d.Findings) == 0 && !d.Usable() {
		paragraph("! ", d.Problem)
	}
	for _, finding := range d.Findings {
		paragraph("! ", finding.Text)
		paragraph("  do: ", finding.Remedy)
	}
	t.processes(b, d, "", indent)
	for _, m := range d.MIGInstances {
		profile := terminal.Pad(orDash(terminal.Sanitize(m.Profile)), len("1g.10gb "))
		memory := t.memory(m.UUID, m.MemoryTotalBytes)
		fmt.Fprintf(b, "%sMIG %s  %-14s  %s\n", indent, profile, memory, terminal.Sanitize(m.UUID))
		t.processes(b, d, m.UUID, indent+"  ")
	}
}

// processes prints the processes on a GPU, or those on one of its MIG instances.
func (t deviceTable) processes(b *strings.Builder, d gpu.Device, instance, indent string) {
	for _, p := range d.Processes {
		if p.MIG != instance {
			continue
		}
		memory := ""
		if p.MemoryKnown {
			memory = "  " + gibibytes(p.MemoryBytes) + " GiB"
		}
		user, command := terminal.Sanitize(p.User), terminal.Sanitize(p.Command)
		who := orDash(user) + "  " + orDash(command)
		if !p.Visible {
			who = strings.TrimSpace(command + " (not visible from here)")
		}
		fmt.Fprintf(b, "%spid %-7d  %s%s\n", indent, p.PID, who, memory)
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
