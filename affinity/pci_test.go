package affinity

import "testing"

func TestCanonicalPCI(t *testing.T) {
	for in, want := range map[string]string{
		"0000:1b:00.0":             "0000:1b:00.0",
		"00000000:1B:00.0":         "0000:1b:00.0",
		"00000000:1B:00.0\x00\x00": "0000:1b:00.0",
		"00010000:01:00.0":         "10000:01:00.0",
		"C0DE0001:01:1F.7":         "c0de0001:01:1f.7",
		"1b:00.0":                  "0000:1b:00.0",
	} {
		if got, err := CanonicalPCI(in); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "x", "0000:1b:00", "0000:1b:20.0", "0000:1b:00.8", "0000:100:00.0", "0:0:0:0.0",
		"100000000:1b:00.0", "0000:1b:00.0/..", "-1:00:00.0", "../../x:00:00.0", "0000:+1:00.0",
		"0000::00.0",
	} {
		if got, err := CanonicalPCI(in); err == nil {
			t.Errorf("%q gives %q, want an error", in, got)
		}
	}
}

func FuzzCanonicalPCI(f *testing.F) {
	for _, seed := range []string{
		"0000:1b:00.0", "00000000:1B:00.0", "1b:00.0", "::.", "10000:e1:1f.7",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		addr, err := CanonicalPCI(text)
		if err != nil {
			return
		}
		if again, err := CanonicalPCI(addr); err != nil || again != addr {
			t.Errorf("%q gives %q, which gives %q, %v", text, addr, again, err)
		}
	})
}
