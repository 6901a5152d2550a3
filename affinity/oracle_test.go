package affinity

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

var workerCounts = []int{1, 2, 3, 4, 8}

// TestHwlocAgrees compares the sets of every worker with hwloc's, on every captured machine, for
// the whole machine and for each NUMA node with CPUs.
func TestHwlocAgrees(t *testing.T) {
	needHwloc(t)
	for name := range affinitytest.Captures(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := affinitytest.Root(t, name)
			compareWithHwloc(t, mustRead(t, root), hwloc{root: root})
		})
	}
}

func compareWithHwloc(t *testing.T, topo *Topology, judge hwloc) {
	places := map[string]CPUSet{"all": topo.Allowed}
	for _, node := range topo.Nodes {
		if cpus := node.CPUs.Intersect(topo.Allowed); !cpus.IsEmpty() {
			places[fmt.Sprintf("numa:%d", node.ID)] = cpus
		}
	}
	for place, cpus := range places {
		mask := judge.mask(t, place)
		if parseHwlocMask(t, mask).IsEmpty() {
			// hwloc leaves out nodes that have no memory or whose memory is not allowed, but
			// accepts their CPUs as a mask.
			mask = hwlocMask(cpus)
		}
		if want := parseHwlocMask(t, mask); !want.Equal(cpus) {
			t.Errorf("%s: CPUs %s, hwloc says %s", place, cpus, want)
			continue
		}
		for _, k := range workerCounts {
			want := judge.distrib(t, mask, k, "--from", "core", "--to", "core")
			if diff := cmp.Diff(want, bindFlat(t, topo, cpus, k)); diff != "" {
				t.Errorf("flat, %s, %d workers (-hwloc +got):\n%s", place, k, diff)
			}
			want = judge.distrib(t, mask, k, "--to", "core")
			if diff := cmp.Diff(want, bindTree(t, topo, cpus, k)); diff != "" {
				t.Errorf("tree, %s, %d workers (-hwloc +got):\n%s", place, k, diff)
			}
		}
	}
}

// TestHwlocAgreesOnSpeeds compares the kinds of cores with hwloc's, which are more and finer: it
// tells 718 from 731. No core may be faster than one that hwloc calls more powerful, and kinds
// whose highest clock rates differ by more than a tenth have different speeds.
func TestHwlocAgreesOnSpeeds(t *testing.T) {
	needHwloc(t)
	for name, want := range map[string]int{
		"hwloc-20em64t-hybrid-1p6c2t+2ca4co1t": 2, "hwloc-nvidia-dgx-gb10": 2,
		"hwloc-48amd64-4pa2n6c-sparse": 1, "hwloc-16em64t-4s2c2t-offlines": 1,
		"hwloc-nvidiagpunumanodes": 1,
	} {
		root := affinitytest.Root(t, name)
		topo := mustRead(t, root)
		speeds := map[int]bool{}
		for _, core := range topo.Cores {
			speeds[core.Speed] = true
		}
		if len(speeds) != want {
			t.Errorf("%s has %d speeds, want %d", name, len(speeds), want)
		}
		last, lastMHz := 0, 0
		for i, kind := range hwlocKinds(t, hwloc{root: root}) {
			for _, core := range topo.Cores {
				if !core.CPUs.SubsetOf(kind.cpus) {
					continue
				}
				faster := i > 0 && kind.mhz*10 > lastMHz*11
				if core.Speed < last || faster != (core.Speed > last) {
					t.Errorf("%s: core %s has speed %d after %d, hwloc %d MHz after %d", name,
						core.CPUs, core.Speed, last, kind.mhz, lastMHz)
				}
			}
			last, lastMHz = topo.speedOf(kind.cpus.Min()), kind.mhz
		}
	}
}

func (t *Topology) speedOf(cpu int) int {
	for _, core := range t.Cores {
		if core.CPUs.Contains(cpu) {
			return core.Speed
		}
	}
	return -1
}

// hwlocKind is a kind of CPUs, with their highest clock rate.
type hwlocKind struct {
	cpus CPUSet
	mhz  int
}

// hwlocKinds returns the kinds of CPUs, the least powerful first.
func hwlocKinds(t *testing.T, judge hwloc) (kinds []hwlocKind) {
	t.Helper()
	for line := range strings.Lines(judge.run(t, "lstopo-no-graphics", "--cpukinds")) {
		if _, mask, ok := strings.Cut(line, " cpuset "); ok {
			kinds = append(kinds, hwlocKind{cpus: parseHwlocMask(t, mask)})
		}
		mhz := 0
		if n, _ := fmt.Sscanf(line, " FrequencyMaxMHz = %d", &mhz); n == 1 {
			kinds[len(kinds)-1].mhz = mhz
		}
	}
	return kinds
}

// bindFlat binds k workers whose devices are near cpus.
func bindFlat(t *testing.T, topo *Topology, cpus CPUSet, k int) []string {
	t.Helper()
	locs := make([]Locality, k)
	for i := range locs {
		locs[i] = Locality{NUMANode: -1, CPUs: cpus}
	}
	bindings, _, err := topo.BindAll(inMode(ModeExclusive), locs)
	if err != nil {
		t.Fatal(err)
	}
	return cpuLists(bindings)
}

// bindTree binds k workers without devices where only cpus are allowed.
func bindTree(t *testing.T, topo *Topology, cpus CPUSet, k int) []string {
	t.Helper()
	restricted := *topo
	restricted.Allowed = cpus
	bindings, _, err := restricted.SpreadAll(inMode(ModeExclusive), k)
	if err != nil {
		t.Fatal(err)
	}
	return cpuLists(bindings)
}

func cpuLists(bindings []Binding) []string {
	var lists []string
	for _, b := range bindings {
		lists = append(lists, b.CPUs.String())
	}
	return lists
}

// hwloc asks the programs of Debian's package hwloc about a captured machine.
type hwloc struct{ root string }

func needHwloc(t *testing.T) {
	t.Helper()
	for _, program := range []string{"hwloc-calc", "hwloc-distrib", "lstopo-no-graphics"} {
		if _, err := exec.LookPath(program); err != nil {
			nvmltest.Unavailable(t, program+" is not installed (Debian package hwloc)")
		}
	}
}

func (h hwloc) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, append([]string{"-i", h.root, "--if", "fsroot"}, args...)...)
	cmd.Env = append(os.Environ(), "HWLOC_THISSYSTEM=0", "HWLOC_HIDE_ERRORS=2")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	return strings.TrimSpace(string(out))
}

// mask returns the allowed CPUs of a place, which is in hwloc's notation, such as numa:1.
func (h hwloc) mask(t *testing.T, place string) string {
	t.Helper()
	return h.run(t, "hwloc-calc", "--pi", place)
}

func (h hwloc) distrib(t *testing.T, mask string, k int, args ...string) []string {
	t.Helper()
	out := h.run(t, "hwloc-distrib", append(args, "--restrict", mask, fmt.Sprint(k))...)
	var lists []string
	for line := range strings.Lines(out) {
		lists = append(lists, parseHwlocMask(t, line).String())
	}
	return lists
}

// hwlocMask returns a set in hwloc's own format.
func hwlocMask(set CPUSet) string {
	return "0x" + strings.ReplaceAll(maskOf(set), ",", ",0x")
}

// parseHwlocMask parses hwloc's own format: groups like those of the kernel, but each has 0x before
// it or, if it is zero, is empty.
func parseHwlocMask(t *testing.T, text string) CPUSet {
	t.Helper()
	groups := strings.Split(strings.TrimSpace(text), ",")
	for i, group := range groups {
		groups[i] = "0" + strings.TrimPrefix(group, "0x")
		groups[i] = groups[i][max(0, len(groups[i])-8):]
	}
	set, err := ParseCPUMask(strings.Join(groups, ","))
	if err != nil {
		t.Fatal(err)
	}
	return set
}
