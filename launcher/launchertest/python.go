//go:build linux

package launchertest

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// executables holds the interpreters that Python has found, by the modules they can import.
var executables sync.Map

// Python returns the path of a Python 3 interpreter that can import the modules. It is the path
// of the interpreter itself, also where python3 is a script that executes another program. The
// test is skipped if there is no such interpreter.
func Python(t testing.TB, modules ...string) string {
	t.Helper()
	key := strings.Join(modules, " ")
	if found, ok := executables.Load(key); ok {
		return found.(string)
	}
	code := "import sys; assert sys.version_info[0] == 3"
	for _, m := range modules {
		code += "; import " + m
	}
	found := FindPython(code)
	if found != "" {
		out, err := exec.Command(found, "-c", "import sys; print(sys.executable)").Output()
		if err != nil {
			t.Fatalf("%s can import %q but cannot name its executable: %v", found, modules, err)
		}
		found = strings.TrimSpace(string(out))
		executables.Store(key, found)
		return found
	}
	nvmltest.Unavailable(t, "no Python 3 was found that can import "+
		strings.Join(append(modules, "sys"), " and ")+": install python3 and python3-torch")
	return ""
}

// FindPython returns the path of the first interpreter that can run the code, and "" if there is
// none. It tries PYTHON_EXEC, python3 and python in PATH, and the usual places.
func FindPython(code string) string {
	for _, name := range []string{
		os.Getenv("PYTHON_EXEC"), "python3", "python", "/usr/bin/python3", "/opt/conda/bin/python",
	} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil && runs(path, "-c", code) {
			return path
		}
	}
	return ""
}

// runs reports whether a command exits with code 0. Its limit allows for PyTorch, which may take
// a minute when it is imported for the first time.
func runs(program string, args ...string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return exec.CommandContext(ctx, program, args...).Run() == nil
}
