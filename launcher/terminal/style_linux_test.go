package terminal

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// openTerminal returns a pseudo terminal that is so many columns wide.
func openTerminal(t *testing.T, columns uint16) *os.File {
	t.Helper()
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		nvmltest.Unavailable(t, "no pseudo terminal is available here: "+err.Error())
	}
	t.Cleanup(func() { unix.Close(master) })
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
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
