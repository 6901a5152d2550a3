//go:build linux

package run

import (
	"errors"
	"testing"

	"github.com/spf13/pflag"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
)

// A named interpreter that is not there is found out, with the exit code that run would have.
func TestFindPython(t *testing.T) {
	t.Setenv("PYTHON_EXEC", "/no/python")
	path, err := FindPython()
	var exit *cli.ExitError
	if path != "" || !errors.As(err, &exit) || exit.Code != 127 {
		t.Errorf("%q, %v", path, err)
	}
	t.Setenv("PYTHON_EXEC", "/proc/self/exe")
	if path, err := FindPython(); path != "/proc/self/exe" || err != nil {
		t.Errorf("%q, %v", path, err)
	}
}

func TestRestartFlags(t *testing.T) {
	for _, c := range []struct {
		args           []string
		delay, longest string
		ok             bool
	}{
		{nil, "1s", "1m", true},
		{[]string{"--restart-delay=2m"}, "2m", "2m", true},
		{[]string{"--restart-max-delay=0.5"}, "500ms", "500ms", true},
		{[]string{"--restart-max-delay=0"}, "0s", "0s", true},
		{[]string{"--restart-delay=0"}, "0s", "1m", true},
		{[]string{"--restart-delay=1h", "--restart-max-delay=2h30m"}, "1h", "2h30m", true},
		{[]string{"--restart-delay=61", "--restart-max-delay=60"}, "1m1s", "1m", false},
	} {
		var f restartFlags
		fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
		f.register(fs)
		if err := fs.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		err := f.check(fs)
		if (err == nil) != c.ok || f.delay.String() != c.delay || f.longest.String() != c.longest {
			t.Errorf("%q: %s and %s (%v), want %s and %s", c.args, &f.delay, &f.longest, err,
				c.delay, c.longest)
		}
	}
}
