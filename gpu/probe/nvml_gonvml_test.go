//go:build linux && !nonvml && gonvml

package probe

import (
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// openProbe is a Probe in a process of its own, since go-nvml can use one library per process, and each test has its own.
func openProbe(t testing.TB, o Options) prober {
	t.Helper()
	return distantProbe{t, realChild(t, o)}
}

// discover is Discover in such a process.
func discover(t testing.TB, o Options) gpu.Inventory {
	t.Helper()
	return openProbe(t, o).Inventory()
}

type distantProbe struct {
	testing.TB
	c *Client
}

func (p distantProbe) Inventory() gpu.Inventory {
	p.Helper()
	inv, err := p.c.Inventory(within(p.TB, long))
	if err != nil {
		p.Fatal(err)
	}
	return inv
}

func (p distantProbe) Sample() gpu.Sample {
	p.Helper()
	sample, err := p.c.Sample(within(p.TB, long))
	if err != nil {
		p.Fatal(err)
	}
	return sample
}

func (p distantProbe) Listen() {
	p.Helper()
	if err := p.c.Listen(within(p.TB, long)); err != nil {
		p.Fatal(err)
	}
}
