//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// serviceEnvironment is what a service manager and a user may have set.
var serviceEnvironment = []string{"NOTIFY_SOCKET=/run/notify", "LISTEN_FDS=2", "LISTEN_PID=1",
	"LISTEN_PIDFDID=1", "LISTEN_FDNAMES=a:b", "LISTEN_ADDR=::1"}

// lists is a worker that prints which of the descriptors 3 to 9 it has, what it can read from them,
// and those of its variables. It is a shell script and, behind it, a Python script.
const (
	listsShell = `for n in 3 4 5 6 7 8 9; do
		[ ! -e /proc/$$/fd/$n ] || echo "has $n $(head -n 1 <&$n)"
	done
	env | grep -E '^(NOTIFY|LISTEN)_'; echo end`
	listsPython = `import os
for n in range(3, 10):
    if os.path.exists("/proc/%d/fd/%d" % (os.getpid(), n)):
        print("has", n, os.pread(n, 9, 0).decode().strip(), flush=True)
for name in sorted(os.environ):
    if name.startswith(("NOTIFY_", "LISTEN_")):
        print(name + "=" + os.environ[name], flush=True)
print("end", flush=True)
`
)

// inheriting runs a job with one worker that has the descriptors 3, 7 and 8, and returns what the
// worker printed about them and about its variables.
func inheriting(t *testing.T, args ...string) (fds, variables []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	argv := append([]string{"sh", "-c", `exec 3<"$0" 7<"$0" 8<"$0"; exec "$@"`, file,
		launchertest.Binary, "run", "--nproc-per-node=1", "--metrics-address=off",
		"--quiet"}, args...)
	j := launchertest.StartCommand(t, nil, serviceEnvironment, argv...)
	code, stderr := j.Exit()
	stdout, _ := j.Output()
	if code != 0 || !strings.HasSuffix(stdout, "end\n") {
		t.Fatalf("exit code %d, stdout %q, stderr:\n%s", code, stdout, stderr)
	}
	for line := range strings.Lines(strings.TrimSuffix(stdout, "end\n")) {
		line = strings.TrimSpace(line)
		if fd, ok := strings.CutPrefix(line, "has "); ok {
			fds = append(fds, fd)
		} else {
			variables = append(variables, line)
		}
	}
	return fds, variables
}

// TestInherited checks what workers get of the descriptors and variables that were passed to
// gpulaunch, with both start methods.
func TestInherited(t *testing.T) {
	script := filepath.Join(t.TempDir(), "lists.py")
	if err := os.WriteFile(script, []byte(listsPython), 0o600); err != nil {
		t.Fatal(err)
	}
	exec := []string{"--", "sh", "-c", listsShell, "sh"}
	fork := []string{"--start-method=forkserver", script}
	all := "NOTIFY_SOCKET LISTEN_FDS LISTEN_PID LISTEN_PIDFDID LISTEN_FDNAMES LISTEN_ADDR"
	for name, c := range map[string]struct {
		flags, args    []string
		fds, variables string
	}{
		"none":          {nil, nil, "", "LISTEN_ADDR"},
		"named":         {nil, []string{"/dev/fd/7"}, "7 text", "LISTEN_ADDR"},
		"named in part": {nil, []string{"--a=/proc/self/fd/8"}, "8 text", "LISTEN_ADDR"},
		"named, the first": {nil, []string{"/dev/fd/3", "/dev/fd/8"}, "3 text,8 text",
			"LISTEN_ADDR"},
		"another process's": {nil, []string{"/proc/1/fd/7"}, "", "LISTEN_ADDR"},
		"all":               {[]string{"--keep-fds"}, nil, "3 text,7 text,8 text", all},
	} {
		for method, worker := range map[string][]string{"exec": exec, "forkserver": fork} {
			t.Run(name+" "+method, func(t *testing.T) {
				if method == "forkserver" {
					launchertest.Python(t, "json")
				}
				args := append(append(append([]string{}, c.flags...), worker...), c.args...)
				fds, variables := inheriting(t, args...)
				for i, entry := range variables {
					variables[i], _, _ = strings.Cut(entry, "=")
				}
				want := strings.Fields(c.variables)
				if strings.Join(fds, ",") != c.fds || !sameSet(variables, want) {
					t.Errorf("the worker has the descriptors %q and the variables %q, "+
						"want %q and %q", fds, variables, c.fds, want)
				}
			})
		}
	}
}

// sameSet reports whether two lists have the same elements.
func sameSet(a, b []string) bool {
	count := map[string]int{}
	for _, s := range a {
		count[s]++
	}
	for _, s := range b {
		count[s]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// TestProcessSubstitution gives a worker a file that bash passes as a descriptor.
func TestProcessSubstitution(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		nvmltest.Unavailable(t, "bash is not here")
	}
	j := launchertest.StartCommand(t, nil, nil, bash, "-c",
		`exec "$0" run -q --metrics-address=off --nproc-per-node=1 cat <(echo substituted)`,
		launchertest.Binary)
	code, stderr := j.Exit()
	if stdout, _ := j.Output(); code != 0 || stdout != "substituted\n" {
		t.Errorf("exit code %d, stdout %q, stderr:\n%s", code, stdout, stderr)
	}
}
