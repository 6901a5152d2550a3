package plural

import "testing"

func TestOf(t *testing.T) {
	for n, want := range map[int]string{0: "0 cores", 1: "1 core", 2: "2 cores"} {
		if got := Of(n, "%d core", "%d cores"); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
