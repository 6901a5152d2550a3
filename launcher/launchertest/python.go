//go:build linux

package launchertest

import (
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// pythons are the interpreters that were found, by what they had to import.
var pythons sync.Map

// Python is a Python 3 interpreter that can import the modules, by its own path
// rather than that of a script that looks for it. The test skips without one.
func Python(t testing.TB, modules ...string) string {
	t.Helper()
	key := strings.Join(modules, " ")
	if found, ok := pythons.Load(key); ok {
		return found.(string)
	}
	code := "import sys; print(sys.executable)"
	for _, m := range modules {
		code = "import " + m + "; " + code
	}
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		out, err := exec.Command(name, "-c", code).Output()
		if err == nil {
			found := strings.TrimSpace(string(out))
			pythons.Store(key, found)
			return found
		}
	}
	nvmltest.Unavailable(t, "there is no Python 3 that can import "+strings.Join(append(modules, "sys"), " and ")+": install python3 and python3-torch")
	return ""
}
