package affinity

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// printMemory prints the policy of this process as get_mempolicy has it, and the kernel's word for
// it in /proc/self/numa_maps.
func printMemory() error {
	now, err := currentPolicy()
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

// TestApplyMemory sets each policy, and asks a child for its own, which went through fork and exec.
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
		// Node 900 does not exist. The kernel drops it and keeps the mode.
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

// TestApplyMemoryNested restores a policy that is not the default one, with its nodes and flags.
func TestApplyMemoryNested(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	node := needMemoryPolicy(t)
	outer, err := currentPolicy()
	if err != nil {
		t.Fatal(err)
	}
	defer setThreadPolicy(outer)
	static := threadPolicy{unix.MPOL_INTERLEAVE | unix.MPOL_F_STATIC_NODES, CPUs(node)}
	if err := setThreadPolicy(static); err != nil {
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
	got := childOutput(t, "memory")
	if got != before || !strings.Contains(got, "interleave=static") {
		t.Errorf("restored to %s, want %s", got, before)
	}
}

func TestApplyMemoryErrors(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	needMemoryPolicy(t)
	_, err := ApplyMemory("sideways", []int{0})
	affinitytest.WantError(t, "unknown policy", err,
		`"sideways": use none, preferred, bind or interleave`)
	_, err = ApplyMemory(MemoryBind, nil)
	affinitytest.WantError(t, "no node", err, "without a NUMA node")
	for _, policy := range []MemoryPolicy{MemoryBind, MemoryPreferred, MemoryInterleave} {
		for _, nodes := range [][]int{{900}, {900, 901}, {100_000}} {
			_, err := ApplyMemory(policy, nodes)
			if !errors.Is(err, unix.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s on nodes %v, which do not exist: %v", policy, nodes, err)
			}
		}
	}
}

func TestMemoryErrorUnsupported(t *testing.T) {
	for errno, unsupported := range map[unix.Errno]bool{
		unix.ENOSYS: true, unix.EPERM: true, unix.EINVAL: false, unix.ENOMEM: false,
	} {
		err := memoryError(MemoryBind, CPUs(0), errno)
		if errors.Is(err, errors.ErrUnsupported) != unsupported || !errors.Is(err, errno) {
			t.Errorf("%v: %v", errno, err)
		}
		affinitytest.WantError(t, errno.Error(), err, "cannot set the memory policy")
	}
}

// needMemoryPolicy returns a node of this machine that has memory. It skips the test where memory
// policies do not work.
func needMemoryPolicy(t *testing.T) int {
	t.Helper()
	if _, err := currentPolicy(); err != nil {
		nvmltest.Unavailable(t, fmt.Sprintf("get_mempolicy does not work: %v; use a kernel with "+
			"CONFIG_NUMA and a container with CAP_SYS_NICE", err))
	}
	topo, err := ReadTopology("/")
	if err != nil {
		t.Fatalf("this machine cannot be read: %v", err)
	}
	nodes, warning := memoryOf(topo, topo.Allowed)
	if len(nodes) == 0 {
		nvmltest.NotOnThisMachine(t, warning)
	}
	return nodes[0]
}
