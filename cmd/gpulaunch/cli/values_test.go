package cli

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "2m": 2 * time.Minute, "1.5": 1500 * time.Millisecond, "0": 0,
		"-0": 0, "1e-9": 1, "9e9": 9e18, "2540400h": 2540400 * time.Hour,
	} {
		var d Seconds
		if err := d.Set(text); err != nil || time.Duration(d) != want {
			t.Errorf("%q is %s, %v; want %s", text, &d, err, want)
		}
	}
	// What Go makes of the first ones depends on the processor: on arm64, NaN was no grace period.
	for _, text := range []string{"NaN", "nan", "inf", "+Inf", "-inf", "1e300", "9.3e9", "-1",
		"-1s", "1e30h", "", "x", "1 s", "0x"} {
		d := Seconds(time.Minute)
		err := d.Set(text)
		if err == nil || !strings.Contains(err.Error(), strconv.Quote(text)) {
			t.Errorf("%q is %s, %v", text, &d, err)
		}
		if time.Duration(d) != time.Minute {
			t.Errorf("%q, which is refused, changes the value to %s", text, &d)
		}
	}
}

// FuzzSeconds checks that a duration is what its text says, to a rounding, and is read again from
// its own String.
func FuzzSeconds(f *testing.F) {
	for _, text := range []string{"30s", "1.5", "NaN", "inf", "1e300", "-0", "0x1p10", "1_0",
		"1e-300", "9223372036.854775807", "2562047h47m16.854775807s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d, again Seconds
		if err := d.Set(text); err != nil {
			if d != 0 || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is refused with %q and gives %s", text, err, &d)
			}
			return
		}
		if d < 0 {
			t.Errorf("%q is %s", text, &d)
		}
		if n, err := strconv.ParseFloat(text, 64); err == nil &&
			!(math.Abs(n-time.Duration(d).Seconds()) <= 1e-9+n*1e-15) {
			t.Errorf("%q seconds are %s", text, &d)
		}
		if err := again.Set(d.String()); err != nil || again != d {
			t.Errorf("%q is %s, which is read as %s (%v)", text, &d, &again, err)
		}
	})
}

// FuzzWhole checks that a whole number is read as it is written.
func FuzzWhole(f *testing.F) {
	for _, text := range []string{"0", "-1", "+7", "007", "1_0", "1.0", "1e3",
		"99999999999999999999", "", "x\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Whole(text)
		if err != nil {
			if n != 0 || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is refused with %q and gives %d", text, err, n)
			}
			return
		}
		if again, err := Whole(strconv.Itoa(n)); err != nil || again != n {
			t.Errorf("%q is %d, which is read as %d (%v)", text, n, again, err)
		}
		if strings.Trim(text, "+-0123456789") != "" {
			t.Errorf("%q is taken for the number %d", text, n)
		}
	})
}
