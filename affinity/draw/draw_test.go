package draw

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

func TestMachines(t *testing.T) {
	for name, p := range map[string]Picture{
		"laptop":         laptop(),
		"AMD server":     occupy(server(2, 4, 16, 8, 2), 8),
		"1,024 CPUs":     occupy(server(4, 1, 128, 64, 2), 16),
		"1,024 cores":    occupy(server(16, 1, 64, 16, 1), 62),
		"flat":           flat(),
		"shared":         everyone(),
		"odd":            odd(t),
		"no CPUs at all": {Topology: &affinity.Topology{}},
	} {
		t.Run(name, func(t *testing.T) { check(t, p, 0, 40, 80, 132) })
	}
}

// TestSVGColors checks that each of the sixteen colours has a style.
func TestSVGColors(t *testing.T) {
	doc := svg(t, occupy(server(2, 1, 32, 16, 1), 16))
	_, cores, err := readSVG(doc)
	if err != nil {
		t.Fatal(err)
	}
	marks := map[string]string{}
	for _, core := range cores {
		class := strings.TrimPrefix(core.Class, "core ")
		if marks[class] += core.Text; !strings.Contains(doc, "\n."+class+" rect{fill:#") {
			t.Errorf("class %s has no style", class)
		}
	}
	if len(marks) != 16 || marks["wa"] != "" || marks["w10"] != "aaaa" {
		t.Errorf("the marks of each class: %v", marks)
	}
}

func TestSVGStaysSmall(t *testing.T) {
	if n := len(svg(t, occupy(server(16, 1, 64, 16, 1), 16))); n > 1<<19 {
		t.Errorf("a machine with 1,024 cores takes %d bytes", n)
	}
}

// TestManyWorkers has more workers than there are digits, so that marks are whole ranks.
func TestManyWorkers(t *testing.T) {
	p := occupy(server(2, 1, 64, 16, 1), 128)
	counts := countMarks(asText(t, p, terminal.Style{}))
	for rank := range 128 {
		if n := counts[fmt.Sprint(rank)]; n != 1 {
			t.Errorf("mark %d is there %d times", rank, n)
		}
	}
	checkWidth(t, p, 40)
}

func checkWidth(t *testing.T, p Picture, width int) {
	t.Helper()
	for l := range strings.Lines(asText(t, p, terminal.Style{Width: width})) {
		if terminal.Width(strings.TrimSuffix(l, "\n")) > width {
			t.Errorf("a line is longer than %d: %q", width, l)
		}
	}
}

func TestMarks(t *testing.T) {
	ranks := func(ranks ...int) (workers []Worker) {
		for _, r := range ranks {
			workers = append(workers, Worker{Rank: r})
		}
		return workers
	}
	for _, test := range []struct {
		workers []Worker
		want    string
	}{
		{ranks(0, 9, 10, 35, 36, 61), "0 9 a z A Z"},
		{ranks(8, 9, 10), "8 9 a"},
		{ranks(64, 65), "0 1"},
		{ranks(3, 3), "0 1"},
		{ranks(-1), "0"},
	} {
		if got := strings.Join(marks(test.workers), " "); got != test.want {
			t.Errorf("marks of %v: %s, want %s", test.workers, got, test.want)
		}
	}
}

// TestCrossing has a node that crosses packages: its pieces are called that, and its devices are
// drawn once.
func TestCrossing(t *testing.T) {
	got := asText(t, odd(t), terminal.Style{})
	for pattern, want := range map[string]int{
		"part of NUMA node 5": 2, "1.0 TiB": 1, `GPU 0 · 0000:01:00.0 → ranks 0-1`: 1, `: \[`: 2,
		`mlx5_0`: 1,
	} {
		if n := len(regexp.MustCompile(pattern).FindAllString(got, -1)); n != want {
			t.Errorf("%q is there %d times, want %d:\n%s", pattern, n, want, got)
		}
	}
}

// TestCutCore has a package that cuts through a core. Each package shows its own CPUs.
func TestCutCore(t *testing.T) {
	topo := server(1, 1, 4, 0, 2)
	topo.Packages = []affinity.Package{{ID: 0, CPUs: cpus(t, "0-1,4")},
		{ID: 1, CPUs: cpus(t, "2-3,5-7")}}
	got := asText(t, Picture{Topology: topo}, terminal.Style{})
	for _, want := range []string{"4 cores", "Package 0 · CPUs 0-1,4 ", "Package 1 · CPUs 2-3,5-7 ",
		"nodes or packages cut through these cores, and each part has a cell: CPUs"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing:\n%s", want, got)
		}
	}
	if strings.Contains(got, "part of") {
		t.Errorf("a package is said to be a part:\n%s", got)
	}
}

// TestAlternateNodes has a virtual machine whose CPUs are on alternate nodes, as KVM gives them,
// while two CPUs are threads of one core.
func TestAlternateNodes(t *testing.T) {
	topo := &affinity.Topology{Online: cpus(t, "0-7"), Allowed: cpus(t, "0-7"),
		Packages: []affinity.Package{{ID: 0, CPUs: cpus(t, "0-7")}},
		Nodes: []affinity.Node{{ID: 0, CPUs: cpus(t, "0,2,4,6")},
			{ID: 1, CPUs: cpus(t, "1,3,5,7")}},
		L3s: []affinity.Cache{{CPUs: cpus(t, "0-7")}},
	}
	for i := range 4 {
		topo.Cores = append(topo.Cores, affinity.Core{ID: i, CPUs: affinity.CPUs(2*i, 2*i+1)})
	}
	p := Picture{Topology: topo, Workers: []Worker{{Rank: 0, CPUs: topo.Nodes[0].CPUs},
		{Rank: 1, CPUs: topo.Nodes[1].CPUs}},
		Devices: []Device{{Name: "GPU 0", Node: 1, CPUs: topo.Nodes[1].CPUs, Ranks: []int{1}}}}
	check(t, p, 40, 80, 132)
	launchertest.Golden(t, "alternate.txt", asText(t, p, terminal.Style{}))
	topo.Nodes[0].CPUs, topo.Nodes[1].CPUs = cpus(t, "0-3"), cpus(t, "4-7") // nothing is cut
	check(t, p, 40, 80, 132)
	if got := asText(t, p, terminal.Style{}); strings.Contains(got, "cut through") {
		t.Errorf("whole cores are said to be cut:\n%s", got)
	}
}

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text         string
		first, width int
		want         string
	}{
		{"", 5, 5, ""},
		{"abc", 5, 5, "abc"},
		{"one two three", 8, 5, "one two|three"},
		{"CPUs 0,2,4,6,8,10,12", 12, 10, "CPUs 0,2,4,|6,8,10,12"},
		{"0123456789", 4, 4, "0123|4567|89"},
		{"first fact · second fact", 16, 16, "first fact|second fact"},
		{"abc", 0, -1, "a|b|c"},
		{"日本", 1, 1, "日|本"},
		{"日本 GPU 日本", 8, 8, "日本 GPU|日本"},
		{"日本,日本,日本", 8, 8, "日本,|日本,|日本"},
	} {
		if got := strings.Join(wrap(test.text, test.first, test.width), "|"); got != test.want {
			t.Errorf("wrap(%q, %d, %d) = %q, want %q", test.text, test.first, test.width, got,
				test.want)
		}
	}
}

func TestEvenly(t *testing.T) {
	for _, test := range [][3]int{{8, 34, 8}, {64, 34, 32}, {16, 7, 4}, {5, 3, 3}, {36, 34, 18},
		{37, 34, 19}, {3, 0, 1}} {
		if got := evenly(test[0], test[1]); got != test[2] {
			t.Errorf("evenly(%d, %d) = %d, want %d", test[0], test[1], got, test[2])
		}
	}
}

func TestNoTopology(t *testing.T) {
	var out strings.Builder
	if err := (Picture{}).Text(&out, terminal.Style{}); err != errNoTopology {
		t.Error(err)
	}
	if err := (Picture{}).SVG(&out); err != errNoTopology {
		t.Error(err)
	}
}

type full struct{}

var errFull = errors.New("no space")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriterFails(t *testing.T) {
	big := occupy(server(16, 1, 64, 16, 1), 16)
	for _, p := range []Picture{laptop(), big} {
		if err := p.Text(full{}, terminal.Style{}); !errors.Is(err, errFull) {
			t.Errorf("Text: %v", err)
		}
		if err := p.SVG(full{}); !errors.Is(err, errFull) {
			t.Errorf("SVG: %v", err)
		}
	}
}

// randomMachine returns a machine whose sets of CPUs overlap in any way.
func randomMachine(r *rand.Rand) *affinity.Topology {
	count := 1 + r.IntN(80)
	some := func() affinity.CPUSet {
		first, set := r.IntN(count), affinity.CPUSet{}
		for cpu := first; cpu < min(count, first+1+r.IntN(count)); cpu += 1 + r.IntN(2) {
			set = set.Union(affinity.CPUs(cpu))
		}
		return set
	}
	topo := &affinity.Topology{}
	for cpu := 0; cpu < count; {
		size := min(1+r.IntN(4), count-cpu)
		core := affinity.CPUSet{}
		for range size {
			core = core.Union(affinity.CPUs(cpu))
			cpu++
		}
		topo.Online = topo.Online.Union(core)
		topo.Cores = append(topo.Cores, affinity.Core{CPUs: core})
	}
	r.Shuffle(len(topo.Cores),
		func(i, j int) { topo.Cores[i], topo.Cores[j] = topo.Cores[j], topo.Cores[i] })
	topo.Allowed = topo.Online.Intersect(some().Union(some()))
	for i := range r.IntN(6) {
		topo.Packages = append(topo.Packages, affinity.Package{ID: i, CPUs: some()})
		topo.L3s = append(topo.L3s, affinity.Cache{CPUs: some()}, affinity.Cache{CPUs: some()})
	}
	for i := range 1 + r.IntN(6) {
		topo.Nodes = append(topo.Nodes, affinity.Node{ID: 3 * i, CPUs: some(),
			MemoryBytes: r.Uint64() >> r.IntN(64)})
	}
	return topo
}

func TestRandomMachines(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 2))
		p := Picture{Topology: randomMachine(r)}
		for i := range r.IntN(20) {
			p.Workers = append(p.Workers, Worker{Rank: i, CPUs: randomMachine(r).Allowed})
		}
		if check(t, p, 40, 61); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzPicture(f *testing.F) {
	f.Add("GPU 0", "", "", uint64(0), uint8(80))
	f.Add("\x1b]0;\a</text><script>\u202e\xff\ufffe", "a\r\nb\x00", "0: [0 0]", uint64(7), uint8(0))
	f.Add("日本 a· · ·,,,,", "\n\n", "]]>&#0;", uint64(1<<40), uint8(255))
	// a wide panel
	f.Add("\x1b]0;\a</text><script>\u202e\xff\ufffe", "\xfa\x00\x00\xfa[", "0: [F 0]", uint64(82),
		uint8(0))
	f.Fuzz(func(t *testing.T, name, note, label string, seed uint64, width uint8) {
		r := rand.New(rand.NewPCG(seed, 1))
		topo := randomMachine(r)
		p := Picture{Topology: topo, Note: note}
		for i := range r.IntN(12) {
			set := randomMachine(r).Allowed
			p.Workers = append(p.Workers, Worker{Rank: i, Label: label, CPUs: set,
				Memory: []int{r.IntN(5)}})
			p.Devices = append(p.Devices, Device{Name: name, PCI: note, Node: r.IntN(12) - 1,
				CPUs: set, Ranks: []int{i, 11 - i}})
		}
		check(t, p, int(width))
	})
}

func BenchmarkText(b *testing.B) {
	p := occupy(server(4, 1, 128, 64, 2), 16)
	for b.Loop() {
		asText(b, p, terminal.Style{Color: true})
	}
}

func BenchmarkSVG(b *testing.B) {
	p := occupy(server(4, 1, 128, 64, 2), 16)
	for b.Loop() {
		svg(b, p)
	}
}
