package affinity

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
)

func TestParsePolicy(t *testing.T) {
	for _, in := range []string{
		"none", "node", "socket", "exclusive", "core-complex", "single", "map=0-3;4-7;8,10",
	} {
		p, err := ParsePolicy(in)
		if err != nil || p.String() != in {
			t.Errorf("%s: %s, %v", in, p, err)
		}
		isMap := strings.HasPrefix(in, "map")
		if isMap != (p.Mode == ModeMap) || isMap != (len(p.Map) == 3) {
			t.Errorf("%s: %+v", in, p)
		}
	}
	for in, want := range map[string]string{
		"": `unknown affinity mode "": use none, node, socket, exclusive, core-complex or single` +
			`, or map=CPUS;CPUS…`,
		"map":         `unknown affinity mode "map"`,
		"Node":        `unknown affinity mode "Node"`,
		"map=":        "set 0 is empty",
		"map=0-3;":    "set 1 is empty",
		"map=0;;1":    "set 1 is empty",
		"map=0;x":     `set 1: invalid CPU list "x": "x" is not a CPU number`,
		"map=0;5-2":   "runs backwards",
		"map=9999999": "above the highest",
	} {
		_, err := ParsePolicy(in)
		affinitytest.WantError(t, quoted(in), err, want)
	}
}

func TestPolicyJSON(t *testing.T) {
	p := Policy{Mode: ModeMap, Map: []CPUSet{CPUs(0, 1), CPUs(4)}}
	text, err := json.Marshal(p)
	if err != nil || string(text) != `"map=0-1;4"` {
		t.Fatalf("%s, %v", text, err)
	}
	var back Policy
	if err := json.Unmarshal(text, &back); err != nil || back.String() != p.String() {
		t.Errorf("%s, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`"map"`), &back); err == nil || back.String() != p.String() {
		t.Errorf("a bad policy was taken: %s, %v", back, err)
	}
}

func TestParseNames(t *testing.T) {
	for _, name := range []Threads{ThreadsAll, ThreadsOnePerCore} {
		if got, err := ParseThreads(string(name)); err != nil || got != name {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	_, err := ParseThreads("two")
	affinitytest.WantError(t, "two", err,
		`unknown choice of hardware threads "two": use all or one-per-core`)
	for _, name := range []MemoryPolicy{MemoryNone, MemoryPreferred, MemoryBind, MemoryInterleave} {
		if got, err := ParseMemoryPolicy(string(name)); err != nil || got != name {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if _, err := ParseMemoryPolicy(""); err == nil {
		t.Error("the empty name is a memory policy")
	}
}

// FuzzParsePolicy also binds a worker by the policy, which must use a user's sets as they are or
// refuse them.
func FuzzParsePolicy(f *testing.F) {
	for _, seed := range []string{
		"node", "map=0-3;4-7", "map=", "map=0;", "map=0-31:2/4;1", "map=0\x00;1\n", "map", "=;",
	} {
		f.Add(seed)
	}
	topo := &Topology{Online: CPUs(0, 1, 2, 3, 4), Allowed: CPUs(0, 1, 2, 3)}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 200 {
			return // many full ranges are slow, not wrong
		}
		p, err := ParsePolicy(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %q", err)
			}
			return
		}
		if back, err := ParsePolicy(p.String()); err != nil || back.String() != p.String() {
			t.Errorf("%q gives %q, which gives %q, %v", text, p, back, err)
		}
		bindings, _, err := topo.SpreadAll(Request{Policy: p}, 1)
		if err != nil {
			return
		}
		cpus := bindings[0].CPUs
		if !cpus.SubsetOf(topo.Allowed) || p.Mode == ModeMap && !cpus.Equal(p.Map[0]) {
			t.Errorf("%q binds to %s", text, cpus)
		}
	})
}
