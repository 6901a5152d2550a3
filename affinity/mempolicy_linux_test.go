package affinity

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"golang.org/x/sys/unix"
)

// printMemory prints the policy of this process, by get_mempolicy and by the word for it in /proc/self/numa_maps.
func printMemory() error {
	now, err := currentMemory()
	if err != nil {
		return err
	}
	maps, err := os.ReadFile("/proc/self/numa_maps")
	if err != nil {
		return err
	}
	fields := strings.Fields(string(maps))
	if len(fields) < 2 {
		return errors.New("/proc/self/numa_maps is empty")
	}
	fmt.Printf("%d %q %s", now.mode, now.nodes, fields[1])
	return nil
}

// TestApplyMemory sets each policy and asks a child, which has gone through fork and exec, what it has.
func TestApplyMemory(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	node := needMemoryPolicy(t)
	before := childOutput(t, "memory")
	n := fmt.Sprint(node)
	for _, test := range []struct {
		policy MemoryPolicy
		nodes  []int
		want   string
	}{
		{MemoryNone, nil, before},
		{MemoryPreferred, []int{node}, `1 "` + n + `" prefer:` + n},
		{MemoryBind, []int{node}, `2 "` + n + `" bind:` + n},
		{MemoryInterleave, []int{node}, `3 "` + n + `" interleave:` + n},
		// Node 900 is not there; the kernel drops it and keeps the mode.
		{MemoryBind, []int{node, 900}, `2 "` + n + `" bind:` + n},
		{MemoryPreferred, []int{node, 900}, `5 "` + n + `" prefer`},
	} {
		restore, err := ApplyMemory(test.policy, test.nodes)
		if err != nil {
			t.Errorf("%s %v: %v", test.policy, test.nodes, err)
			continue
		}
		if got := childOutput(t, "memory"); got != test.want {
			t.Errorf("%s %v: a child has %s, want %s", test.policy, test.nodes, got, test.want)
		}
		if err := restore(); err != nil {
			t.Error(err)
		}
		if got := childOutput(t, "memory"); got != before {
			t.Errorf("%s %v: restored to %s, want %s", test.policy, test.nodes, got, before)
		}
	}
}

// TestApplyMemoryNested restores a policy that is not the default, with its nodes and flags.
func TestApplyMemoryNested(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	node := needMemoryPolicy(t)
	outer, err := currentMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer setMemory(outer)
	if err := setMemory(memory{unix.MPOL_INTERLEAVE | unix.MPOL_F_STATIC_NODES, CPUs(node)}); err != nil {
		t.Fatal(err)
	}
	before := childOutput(t, "memory")
	restore, err := ApplyMemory(MemoryBind, []int{node})
	if err != nil {
		t.Fatal(err)
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	if got := childOutput(t, "memory"); got != before || !strings.Contains(got, "interleave=static") {
		t.Errorf("restored to %s, want %s", got, before)
	}
}

func TestApplyMemoryErrors(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	needMemoryPolicy(t)
	if _, err := ApplyMemory("sideways", []int{0}); err == nil || !strings.Contains(err.Error(), "it is one of none, preferred, bind, interleave") {
		t.Errorf("unknown policy: %v", err)
	}
	if _, err := ApplyMemory(MemoryBind, nil); err == nil || !strings.Contains(err.Error(), "no NUMA node at all") {
		t.Errorf("no node: %v", err)
	}
	for _, policy := range []MemoryPolicy{MemoryBind, MemoryPreferred, MemoryInterleave} {
		for _, nodes := range [][]int{{900}, {900, 901}, {100_000}} {
			if _, err := ApplyMemory(policy, nodes); !errors.Is(err, unix.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s on nodes %v, which are not there: %v", policy, nodes, err)
			}
		}
	}
}

func TestMemoryErrorUnsupported(t *testing.T) {
	for errno, unsupported := range map[unix.Errno]bool{unix.ENOSYS: true, unix.EPERM: true, unix.EINVAL: false, unix.ENOMEM: false} {
		err := memoryError(MemoryBind, CPUs(0), errno)
		if errors.Is(err, errors.ErrUnsupported) != unsupported || !errors.Is(err, errno) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

// needMemoryPolicy returns a node with memory of this machine, and skips the test where there are no memory policies.
func needMemoryPolicy(t *testing.T) int {
	t.Helper()
	if _, err := currentMemory(); err != nil {
		nvmltest.Unavailable(t, fmt.Sprintf("get_mempolicy does not work: %v; use a kernel with CONFIG_NUMA and a container with CAP_SYS_NICE", err))
	}
	topo, err := ReadTopology("/")
	if err != nil {
		t.Skipf("this machine cannot be read: %v", err)
	}
	nodes, warning := topo.MemoryNodes(topo.Allowed)
	if len(nodes) == 0 {
		t.Skip(warning)
	}
	return nodes[0]
}
