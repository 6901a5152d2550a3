package draw

import (
	"bytes"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

func asText(t testing.TB, p Picture, s terminal.Style) string {
	t.Helper()
	var out bytes.Buffer
	if err := p.Text(&out, s); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func svg(t testing.TB, p Picture) string {
	t.Helper()
	var out bytes.Buffer
	if err := p.SVG(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// laptop returns a machine of one package with four cores of two threads.
func laptop() Picture {
	p := occupy(server(1, 1, 4, 4, 2), 2)
	p.Note = "--affinity=exclusive"
	return p
}

// flat returns a machine of which only the CPUs are known.
func flat() Picture {
	topo := server(0, 0, 0, 0, 1)
	topo.Online = affinity.CPUs(0, 1, 2, 3, 4, 5)
	topo.Allowed = topo.Online
	topo.Nodes = []affinity.Node{{ID: 0, CPUs: topo.Online}}
	return Picture{Topology: topo, Workers: []Worker{{CPUs: affinity.CPUs(0, 1)},
		{Rank: 1, CPUs: affinity.CPUs(2, 3)}}}
}

// everyone returns a server with two GPUs at each node and workers that have whole nodes.
func everyone() Picture {
	p := occupy(server(2, 1, 32, 16, 2), 4)
	for i := range p.Workers {
		p.Workers[i].CPUs = p.Topology.Nodes[i/2].CPUs
	}
	return p
}

func TestGolden(t *testing.T) {
	for name, got := range map[string]string{
		"laptop.txt":       asText(t, laptop(), terminal.Style{}),
		"laptop-color.txt": asText(t, laptop(), terminal.Style{Color: true}),
		"laptop.svg":       svg(t, laptop()),
		"server.txt":       asText(t, occupy(server(2, 4, 16, 8, 2), 8), terminal.Style{}),
		"shared.txt":       asText(t, everyone(), terminal.Style{Width: 60}),
		"flat.txt":         asText(t, flat(), terminal.Style{Width: 1}),
		"odd.txt":          asText(t, odd(t), terminal.Style{}),
		"odd.svg":          svg(t, odd(t)),
	} {
		t.Run(name, func(t *testing.T) { launchertest.Golden(t, name, got) })
	}
}
