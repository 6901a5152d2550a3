package affinity

import (
	"strings"
	"testing"
)

func TestParseCPUList(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"\n", ""},
		{"0-3,8\n", "0-3,8"},
		{"0-3,8\n\x00", "0-3,8"},
		{" 7 , 9 ", "7,9"},
		{"0-31:2/4", "0-1,4-5,8-9,12-13,16-17,20-21,24-25,28-29"},
		{"0-6:2/5", "0-1,5-6"},
		{"1-1", "1"},
		{"8,0-8,3", "0-8"},
		{"1048575", "1048575"},
	} {
		if got, err := ParseCPUList(test.in); err != nil || got.String() != test.want {
			t.Errorf("%q: %q, %v, want %q", test.in, got, err, test.want)
		}
	}
}

func TestParseCPUListErrors(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"a", `invalid CPU list "a": "a" is not a CPU number`},
		{"1,,2", "a CPU number is missing"},
		{"-1", "a CPU number is missing"},
		{"3-1", `range "3-1" runs backwards`},
		{"0-3:2", `stride "2" is not USED/GROUP`},
		{"0-3:0/2", `stride "0/2" is not USED/GROUP`},
		{"0-3:5/2", `stride "5/2" is not USED/GROUP`},
		{"3:1/2", `"3:1/2" has a stride but is not a range`},
		{"1048576", "CPU 1048576 is above the highest possible, 1048575"},
		{"0-18446744073709551616", "is not a CPU number"},
		{"all", `"all" is not a CPU number`},
		{strings.Repeat("x", 5000), "…"},
	} {
		_, err := ParseCPUList(test.in)
		if err == nil || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 300 {
			t.Errorf("%q: error %v, want %q", test.in, err, test.want)
		}
	}
}

func FuzzParseCPUList(f *testing.F) {
	for _, seed := range []string{
		"", "0", "0-3,8\n", "0-31:2/4", "5-4", "1,,2", "0-1048575:1/1048576", "\x00", "-", ":/",
		"1-2:3/4/5",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 200 {
			return // many full ranges are slow, not wrong
		}
		set, err := ParseCPUList(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %q", err)
			}
			return
		}
		back, err := ParseCPUList(set.String())
		if err != nil || !back.Equal(set) {
			t.Errorf("%q gives %q, which gives %q, %v", text, set, back, err)
		}
	})
}
