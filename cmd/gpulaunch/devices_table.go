//go:build linux

package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// Codes of ECMA-48, 8.3.117 (SGR).
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

func paint(style report.Style, color, s string) string {
	if !style.Color {
		return s
	}
	return color + s + plain
}

// escaped shows what somebody else wrote in a way that no terminal obeys: control characters, line ends and what
// changes the direction of text as Go writes them.
func escaped(s string) string {
	var b strings.Builder
	for _, r := range s { // bytes that are not UTF-8 come as U+FFFD
		if strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
	}
	return b.String()
}

// deviceTable is what is shown of the GPUs.
type deviceTable struct {
	inv      gpu.Inventory
	used     map[string]uint64 // bytes, by UUID
	topology *affinity.Topology
	wide     bool
	style    report.Style
}

// leastName is how short a name may become on a narrow terminal.
const leastName = 8

func (t deviceTable) String() string {
	rows := [][]string{{"GPU", "NAME", "UUID", "PCI", "NUMA", "MEMORY", "PROCS", "HEALTH"}}
	for _, d := range t.inv.Devices {
		rows = append(rows, []string{fmt.Sprint(d.Index), t.name(d), orDash(t.shortUUID(d.UUID)), orDash(t.address(d.PCIBusID)),
			t.node(d), t.memory(d.UUID, d.MemoryTotalBytes), t.processes(d), ""})
	}
	widths := t.widths(rows)
	var b strings.Builder
	for i, row := range rows {
		for column, width := range widths {
			cell := shorten(row[column], width)
			gap := strings.Repeat(" ", width-cells(cell))
			if column == 0 || column == 6 { // numbers
				cell, gap = gap+cell, ""
			}
			b.WriteString(cell + gap + "  ")
		}
		if i == 0 {
			b.WriteString("HEALTH\n")
			continue
		}
		d := t.inv.Devices[i-1]
		color, word := t.health(d)
		b.WriteString(paint(t.style, color, word) + "\n")
		t.below(&b, d)
	}
	return b.String()
}

// widths are those of the columns but the last, which takes what is left. On a terminal that is too narrow, names get
// shorter.
func (t deviceTable) widths(rows [][]string) []int {
	widths := make([]int, len(rows[0])-1)
	total := 0
	for column := range widths {
		for _, row := range rows {
			widths[column] = max(widths[column], cells(row[column]))
		}
		total += widths[column] + 2
	}
	health := len("HEALTH")
	for _, d := range t.inv.Devices {
		_, word := t.health(d)
		health = max(health, len(word))
	}
	if over := total + health - t.style.Width; t.style.Width > 0 && over > 0 && !t.wide {
		widths[1] = max(min(leastName, widths[1]), widths[1]-over)
	}
	return widths
}

// cells is how many columns text takes, which here is nearly always ASCII.
func cells(s string) int { return len([]rune(s)) }

func shorten(s string, width int) string {
	if cells(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

// name leaves out what all of them begin with.
func (t deviceTable) name(d gpu.Device) string {
	name := escaped(d.Name)
	if !t.wide {
		name = strings.TrimPrefix(name, "NVIDIA ")
	}
	return orDash(name)
}

// address leaves out the PCI domain where there is only one, as lspci does.
func (t deviceTable) address(pci string) string {
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

// shortUUID is the shortest beginning of at least eight digits that no other GPU has; CUDA_VISIBLE_DEVICES takes it.
func (t deviceTable) shortUUID(uuid string) string {
	if t.wide {
		return escaped(uuid)
	}
	for n := len("GPU-01234567"); n < len(uuid); n++ {
		alike := 0
		for _, d := range t.inv.Devices {
			if strings.HasPrefix(d.UUID, uuid[:n]) {
				alike++
			}
		}
		if alike == 1 && uuid[n-1] != '-' {
			return escaped(uuid[:n])
		}
	}
	return escaped(uuid)
}

// node is the NUMA node by sysfs, else the one that has the CPUs that NVML tells of.
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
				return "-" // it spans nodes: nothing that could be called its own
			}
			found = fmt.Sprint(node.ID)
		}
	}
	return found
}

// memory is "3.0/80.0 GiB", or the total alone.
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

func gibibytes(n uint64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<30)) }

func (t deviceTable) processes(d gpu.Device) string {
	if t.inv.Source != gpu.SourceNVML {
		return "-"
	}
	return fmt.Sprint(len(d.Processes))
}

// health is a word and its colour.
func (t deviceTable) health(d gpu.Device) (color, word string) {
	switch {
	case len(d.Findings) > 1:
		return red, fmt.Sprintf("%s +%d", d.Findings[0].Code, len(d.Findings)-1)
	case len(d.Findings) == 1:
		return red, d.Findings[0].Code
	case !d.Usable():
		return red, "unusable"
	case t.inv.Source != gpu.SourceNVML:
		return yellow, "unknown"
	}
	return green, "ok"
}

// below is what a GPU's row has no room for.
func (t deviceTable) below(b *strings.Builder, d gpu.Device) {
	const indent = 5
	line := func(head, text string) {
		writeWrapped(b, strings.Repeat(" ", indent)+head, indent+len(head), t.style.Width, escaped(text))
	}
	if len(d.Findings) == 0 && !d.Usable() {
		line("! ", d.Problem)
	}
	for _, finding := range d.Findings {
		line("! ", finding.Text)
		line("  do: ", finding.Remedy)
	}
	t.people(b, d, "", indent)
	for _, m := range d.MIGInstances {
		fmt.Fprintf(b, "%*sMIG %-8s  %-14s  %s\n", indent, "", orDash(escaped(m.Profile)), t.memory(m.UUID, m.MemoryTotalBytes), escaped(m.UUID))
		t.people(b, d, m.UUID, indent+2)
	}
}

// people are the processes on a GPU or on one of its instances.
func (t deviceTable) people(b *strings.Builder, d gpu.Device, instance string, indent int) {
	for _, p := range d.Processes {
		if p.MIG != instance {
			continue
		}
		memory := ""
		if p.MemoryKnown {
			memory = "  " + gibibytes(p.MemoryBytes) + " GiB"
		}
		who := fmt.Sprintf("%s  %s", orDash(escaped(p.User)), orDash(escaped(p.Command)))
		if !p.Visible {
			who = strings.TrimSpace(escaped(p.Command) + " (not visible from here)")
		}
		fmt.Fprintf(b, "%*spid %-7d  %s%s\n", indent, "", p.PID, who, memory)
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
