//go:build linux

package run

import (
	"errors"
	"testing"

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
