package affinity

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestCPUSetOperations(t *testing.T) {
	a, b := CPUs(0, 1, 2, 3, 64, 5000), CPUs(2, 3, 4, 200)
	for _, test := range []struct {
		name string
		got  CPUSet
		want string
	}{
		{"union", a.Union(b), "0-4,64,200,5000"},
		{"union, other way", b.Union(a), "0-4,64,200,5000"},
		{"intersection", a.Intersect(b), "2-3"},
		{"difference", a.Subtract(b), "0-1,64,5000"},
		{"difference with itself", a.Subtract(a), ""},
		{"impossible CPUs", CPUs(-1, maxCPUs, 7), "7"},
		{"words", trimmed([]uint64{1, 1 << 63, 0}), "0,127"},
		{"zero value", CPUSet{}, ""},
	} {
		if got := test.got.String(); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestCPUSetQuestions(t *testing.T) {
	s := CPUs(3, 70, 1030)
	if s.Min() != 3 || s.Max() != 1030 || s.Len() != 3 || s.IsEmpty() {
		t.Errorf("Min %d, Max %d, Len %d, IsEmpty %v", s.Min(), s.Max(), s.Len(), s.IsEmpty())
	}
	var empty CPUSet
	if empty.Min() != -1 || empty.Max() != -1 || empty.Len() != 0 || !empty.IsEmpty() {
		t.Errorf("empty: Min %d, Max %d, Len %d, IsEmpty %v",
			empty.Min(), empty.Max(), empty.Len(), empty.IsEmpty())
	}
	if s.Contains(-1) || s.Contains(4) || s.Contains(1<<40) || !s.Contains(1030) {
		t.Error("Contains is wrong")
	}
	if !s.SubsetOf(s) || !empty.SubsetOf(s) || s.SubsetOf(empty) || !CPUs(70).SubsetOf(s) ||
		CPUs(71).SubsetOf(s) {
		t.Error("SubsetOf is wrong")
	}
	if !s.Subtract(CPUs(1030)).Equal(CPUs(3, 70)) || s.Equal(empty) {
		t.Error("Equal is wrong")
	}
	if got := slices.Collect(s.All()); !slices.Equal(got, []int{3, 70, 1030}) {
		t.Errorf("All: %v", got)
	}
}

func TestCPUSetIsImmutable(t *testing.T) {
	cpus := []int{0}
	s := CPUs(cpus...)
	cpus[0] = 1
	s.Union(CPUs(5))
	s.Subtract(CPUs(0))
	s.Intersect(CPUs(1))
	if s.String() != "0" {
		t.Errorf("the set became %q", s)
	}
}

func TestCPUSetAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		in := map[int]bool{}
		var cpus []int
		for range r.IntN(60) {
			cpu := r.IntN(2000)
			in[cpu] = true
			cpus = append(cpus, cpu)
		}
		s := CPUs(cpus...)
		back, err := ParseCPUList(s.String())
		if err != nil || !back.Equal(s) || s.Len() != len(in) {
			t.Fatalf("%v: list %q gives %q, %v", cpus, s, back, err)
		}
		if mask, err := ParseCPUMask(maskOf(s)); err != nil || !mask.Equal(s) {
			t.Fatalf("%v: mask %q gives %q, %v", cpus, maskOf(s), mask, err)
		}
	}
}

func TestCPUSetJSON(t *testing.T) {
	type object struct{ CPUs CPUSet }
	text, err := json.Marshal(object{CPUs(0, 1, 2, 8)})
	if err != nil || string(text) != `{"CPUs":"0-2,8"}` {
		t.Fatalf("%s, %v", text, err)
	}
	var back object
	if err := json.Unmarshal(text, &back); err != nil || back.CPUs.String() != "0-2,8" {
		t.Errorf("%q, %v", back.CPUs, err)
	}
	if err := json.Unmarshal([]byte(`{"CPUs":"x"}`), &back); err == nil {
		t.Error("a bad list was taken")
	}
}
