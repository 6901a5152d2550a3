package plural_test

import (
	"fmt"
	"strings"

	"github.com/gpulaunch/gpulaunch/launcher/plural"
)

// This program says how many XID events of how many GPUs are in a kernel's log.
func Example() {
	log := `NVRM: Xid (PCI:0000:1b:00): 13, pid=4711, name=python3
NVRM: GPU at PCI:0000:1b:00: GPU-5f1c
NVRM: Xid (PCI:0000:1b:00): 43, pid=4711, name=python3
`
	events, gpus := 0, map[string]bool{}
	for line := range strings.Lines(log) {
		if rest, ok := strings.CutPrefix(line, "NVRM: Xid ("); ok {
			address, _, _ := strings.Cut(rest, ")")
			gpus[address] = true
			events++
		}
	}
	fmt.Printf("%s of %s\n", plural.Of(events, "1 XID event", "%d XID events"),
		plural.Of(len(gpus), "1 GPU", "%d GPUs"))
	// Output: 2 XID events of 1 GPU
}
