package terminal

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// openTerminal returns a pseudo terminal that is so many columns wide.
func openTerminal(t *testing.T, columns uint16) *os.File {
	t.Helper()
	_, slave := launchertest.OpenTerminal(t)
	size := &unix.Winsize{Row: 24, Col: columns}
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, size); err != nil {
		t.Fatal(err)
	}
	return slave
}

func TestStyleOfTerminal(t *testing.T) {
	for _, test := range []struct {
		columns uint16
		environ map[string]string
		want    Style
	}{
		{77, nil, Style{77, true}},
		{77, map[string]string{"TERM": "xterm", "NO_COLOR": ""}, Style{77, true}},
		{77, map[string]string{"NO_COLOR": "0"}, Style{77, false}},
		{77, map[string]string{"TERM": "dumb"}, Style{77, false}},
		{77, map[string]string{"COLUMNS": "120"}, Style{120, true}},
		{77, map[string]string{"COLUMNS": "0"}, Style{77, true}},
		{77, map[string]string{"COLUMNS": "-3"}, Style{77, true}},
		{77, map[string]string{"COLUMNS": "99999999999"}, Style{77, true}},
		{77, map[string]string{"COLUMNS": "80x"}, Style{77, true}},
		{0, nil, Style{0, true}}, // as in a container that was told no size
	} {
		environ := func(name string) string { return test.environ[name] }
		if got := StyleOf(openTerminal(t, test.columns), environ); got != test.want {
			t.Errorf("%d columns, %v: %+v, want %+v", test.columns, test.environ, got, test.want)
		}
	}
}

func TestStyleOfWhatIsNoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	closed := os.NewFile(uintptr(1<<20), "closed")
	for _, f := range []*os.File{w, null, closed, nil} {
		if got := StyleOf(f, func(string) string { return "120" }); got != (Style{}) {
			t.Errorf("%v has the style %+v", f, got)
		}
	}
	w.Close()
	if got := StyleOf(w, func(string) string { return "" }); got != (Style{}) {
		t.Errorf("a closed file has the style %+v", got)
	}
}
