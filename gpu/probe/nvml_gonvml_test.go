//go:build linux && !nonvml && gonvml

package probe

import (
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// openProbe returns a probe in a process of its own. go-nvml can use only one library per process,
// and each test has its own library.
func openProbe(t testing.TB, o Options) prober {
	t.Helper()
	return remoteProbe{t, realChild(t, o)}
}

// hangingCall returns nothing: go-nvml does not tell which call hangs.
func hangingCall(string) string { return "" }

// discover is like Discover, in a process of its own.
func discover(t testing.TB, o Options) gpu.Inventory {
	t.Helper()
	return openProbe(t, o).Inventory()
}

type remoteProbe struct {
	testing.TB
	c *Client
}

func (p remoteProbe) Inventory() gpu.Inventory {
	p.Helper()
	inv, err := p.c.Inventory(within(p.TB, long))
	if err != nil {
		p.Fatal(err)
	}
	return inv
}

func (p remoteProbe) Sample() gpu.Sample {
	p.Helper()
	sample, err := p.c.Sample(within(p.TB, long))
	if err != nil {
		p.Fatal(err)
	}
	return sample
}

func (p remoteProbe) Listen() {
	p.Helper()
	if err := p.c.Listen(within(p.TB, long)); err != nil {
		p.Fatal(err)
	}
}
