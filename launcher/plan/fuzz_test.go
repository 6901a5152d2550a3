package plan

import (
	"strconv"
	"strings"
	"testing"
)

// FuzzParseWorkerCount checks that a number of workers is what its text says and is within the
// limits, and that it is read again from its own String.
func FuzzParseWorkerCount(f *testing.F) {
	for _, text := range []string{"auto", "gpu", "cpu", "1", "+2", "007", "32768", "32769", "0",
		"-1", "1.5", "1e3", "NaN", "99999999999999999999", "", " 1", "AUTO", "x\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseWorkerCount(text)
		if err != nil {
			if c != (WorkerCount{}) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is refused with %q and gives %s", text, err, c)
			}
			if n, e := strconv.Atoi(text); e == nil && n >= 1 && n <= maxWorkers {
				t.Errorf("%d is refused: %v", n, err)
			}
			return
		}
		if again, err := ParseWorkerCount(c.String()); err != nil || again != c {
			t.Errorf("%q is %s, which is read as %s (%v)", text, c, again, err)
		}
		if c.word != "" {
			if c.word != text || c.number != 0 {
				t.Errorf("%q is %+v", text, c)
			}
			return
		}
		if n, err := strconv.Atoi(text); err != nil || n != c.number || n < 1 || n > maxWorkers {
			t.Errorf("%q is taken for %d workers", text, c.number)
		}
	})
}
