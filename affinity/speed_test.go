package affinity

import (
	"fmt"
	"strings"
	"testing"
)

// TestSpeeds reads the kinds of cores of hybrid machines from each file that tells them apart.
func TestSpeeds(t *testing.T) {
	pmus := func(core, atom, low string) map[string]string {
		files := map[string]string{}
		for name, list := range map[string]string{
			"cpu_core": core, "cpu_atom": atom, "cpu_lowpower": low,
		} {
			if list != "" {
				files["/sys/devices/"+name+"/cpus"] = list
			}
		}
		return files
	}
	perCPU := func(file string, values ...string) map[string]string {
		files := map[string]string{}
		for cpu, value := range values {
			files[cpuPath(cpu)+"/"+file] = value
		}
		return files
	}
	for _, test := range []struct {
		name  string
		cores string
		files map[string]string
		want  string
	}{
		{"nothing known", "0 1 2 3", nil, "[0 0 0 0]"},
		{"Intel", "0-1 2 3", pmus("0-1", "2-3", ""), "[1 0 0]"},
		{"Intel, three kinds", "0-1 2 3", pmus("0-1", "2", "3"), "[2 1 0]"},
		{"Intel, one kind only", "0 1 2 3", pmus("0-3", "", ""), "[0 0 0 0]"},
		{"Intel, the others are offline", "0 1", pmus("0-1", "8-9", ""), "[0 0]"},
		{"Intel, garbage", "0 1", pmus("0", "x", ""), "[0 0]"},
		{"capacity", "0 1 2 3", perCPU("cpu_capacity", "718", "1024", "731", "997"), "[0 1 0 1]"},
		{"capacity, all alike", "0 1", perCPU("cpu_capacity", "1024", "1024"), "[0 0]"},
		{"capacity, one is unknown", "0 1 2", perCPU("cpu_capacity", "512", "1024"), "[0 0 0]"},
		{"capacity of 0", "0 1", perCPU("cpu_capacity", "0", "0"), "[0 0]"},
		{"clock rate", "0-1 2 3", perCPU("cpufreq/base_frequency", "1900", "1900", "1400", "1400"),
			"[1 0 0]"},
		// Preferred cores of servers must not look like another kind.
		{"clock rate of equal cores", "0 1", perCPU("cpufreq/base_frequency", "1900", "1400"),
			"[0 0]"},
	} {
		m := synthetic{cores: strings.Fields(test.cores), files: test.files}
		var got []int
		for _, core := range mustRead(t, m.write(t)).Cores {
			got = append(got, core.Speed)
		}
		if fmt.Sprint(got) != test.want {
			t.Errorf("%s: %v, want %s", test.name, got, test.want)
		}
	}
}

// TestUnequalWarning has workers on a machine of performance cores 0-3 and efficiency cores 4-11.
func TestUnequalWarning(t *testing.T) {
	m := grid(1, 1, 12, 1)
	m.files = map[string]string{
		"/sys/devices/cpu_core/cpus": "0-3", "/sys/devices/cpu_atom/cpus": "4-11",
	}
	topo := mustRead(t, m.write(t))
	threeKinds := *topo
	threeKinds.Cores = append([]Core(nil), topo.Cores...)
	threeKinds.Cores[0].Speed = 2
	alike := mustRead(t, grid(1, 1, 12, 1).write(t))
	for _, test := range []struct {
		name string
		topo *Topology
		cpus string
		want string
	}{
		{"nobody", topo, "", ""},
		{"all have all", topo, "0-11 0-11", ""},
		{"equal parts", topo, "0-1,4-7 2-3,8-11", ""},
		{"one more is left over", topo, "0-1,4-7 2-3,8-10", ""},
		{"one and eight", topo, "0 4-11", "local rank 0 has 1 performance core, local rank 1 has " +
			"8 efficiency cores;"},
		{"one and one", topo, "4 0", "local rank 1 has 1 performance core, local rank 0 has " +
			"1 efficiency core;"},
		{"two more", topo, "0,4-5 1,6-9", "local rank 1 has 1 performance core and 4 efficiency " +
			"cores, local rank 0 has 1 performance core and 2 efficiency cores;"},
		{"three kinds", &threeKinds, "0,4 1", "local rank 0 has 1 of speed class 2 and 1 of speed " +
			"class 0, local rank 1 has 1 of speed class 1;"},
		{"cores of one kind", alike, "0 4-11", ""},
	} {
		var sets []CPUSet
		for list := range strings.FieldsSeq(test.cpus) {
			sets = append(sets, parseList(t, list))
		}
		got := test.topo.unequalWarning(sets)
		if !strings.Contains(got, test.want) || (got == "") != (test.want == "") {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
