package affinity

import (
	"strings"
	"testing"
)

func TestParseCPUMask(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"0\n", ""},
		{"ffffffff,00000001", "0,32-63"},
		{"00000000,00000000,00000003\n\x00", "0-1"},
		{"1,00000000,00000000", "64"},
		{"FF", "0-7"},
	} {
		if got, err := ParseCPUMask(test.in); err != nil || got.String() != test.want {
			t.Errorf("%q: %q, %v, want %q", test.in, got, err, test.want)
		}
	}
	for _, in := range []string{
		"x", "0x1", "123456789", ",", "-1", "+1", strings.Repeat("0,", maxCPUs/32) + "0",
	} {
		if got, err := ParseCPUMask(in); err == nil {
			t.Errorf("%q gives %q, want an error", quoted(in), got)
		}
	}
}

func FuzzParseCPUMask(f *testing.F) {
	for _, seed := range []string{"", "0", "ffffffff,00000001", "f,", "000000001", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := ParseCPUMask(text)
		if err != nil {
			return
		}
		if back, err := ParseCPUMask(maskOf(set)); err != nil || !back.Equal(set) {
			t.Errorf("%q gives %q, which gives %q, %v", text, set, back, err)
		}
	})
}
