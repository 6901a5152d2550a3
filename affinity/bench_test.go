package affinity

import "testing"

// BenchmarkReadAndBind reads a machine and its devices and binds a worker to each device.
func BenchmarkReadAndBind(b *testing.B) {
	for _, bench := range []struct {
		name    string
		machine synthetic
		devices int
	}{
		{"2packages8nodes256cpus8gpus", grid(2, 4, 16, 2), 8},
		{"1024cpus16gpus", grid(8, 2, 32, 2), 16},
	} {
		addresses := bench.machine.addDevices(b, bench.devices)
		root := bench.machine.write(b)
		b.Run(bench.name, func(b *testing.B) {
			for b.Loop() {
				readAndBind(b, root, addresses)
			}
		})
	}
}

func readAndBind(b *testing.B, root string, addresses []string) {
	topo := mustRead(b, root)
	var locs []Locality
	for _, addr := range addresses {
		loc, err := ReadLocality(root, addr)
		if err != nil {
			b.Fatal(err)
		}
		locs = append(locs, loc)
	}
	bindings, warnings, err := topo.BindAll(inMode(ModeExclusive), locs)
	if err != nil || len(warnings) > 0 || len(bindings) != len(addresses) {
		b.Fatal(len(bindings), warnings, err)
	}
}

// BenchmarkBind is the deciding alone.
func BenchmarkBind(b *testing.B) {
	m := grid(8, 2, 32, 2)
	topo := mustRead(b, m.write(b))
	var locs []Locality
	for node := range topo.Nodes {
		locs = append(locs, Locality{NUMANode: node})
	}
	for b.Loop() {
		if _, _, err := topo.BindAll(inMode(ModeExclusive), locs); err != nil {
			b.Fatal(err)
		}
	}
}
