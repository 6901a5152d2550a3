package probe

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// procRoot is a root whose /proc has one process, 42, and a PID namespace.
func procRoot(t *testing.T, namespace, cmdline, comm string, open ...string) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range map[string]string{"proc/42/cmdline": cmdline, "proc/42/comm": comm} {
		writeFile(t, filepath.Join(root, path), text)
	}
	link(t, namespace, filepath.Join(root, "proc/self/ns/pid"))
	for i, file := range open {
		link(t, file, filepath.Join(root, "proc/42/fd", fmt.Sprint(i)))
	}
	return root
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

func TestIdentify(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	const elsewhere = "pid:[4026532000]"
	known := gpu.Process{PID: 42, User: me.Username, Command: "python3", Visible: true}
	titled := known
	titled.Command = "ray::train"
	for name, test := range map[string]struct {
		root string
		want gpu.Process
	}{
		"host":                     {procRoot(t, initialPIDNamespace, "/usr/bin/python3\x00--token\x00secret\x00", "pt_main_thread\n"), known},
		"a title with arguments":   {procRoot(t, initialPIDNamespace, "ray::train --token=/secret", "x\n"), titled},
		"no command line":          {procRoot(t, initialPIDNamespace, "", "python3\n"), known},
		"container, GPU open":      {procRoot(t, elsewhere, "python3\x00", "", "/dev/null", "/dev/nvidiactl"), known},
		"container, somebody else": {procRoot(t, elsewhere, "bash\x00", "", "/dev/null", "/home/nvidia"), gpu.Process{PID: 42}},
		"container, not told":      {procRoot(t, elsewhere, "bash\x00", ""), gpu.Process{PID: 42}},
		"no such process":          {t.TempDir(), gpu.Process{PID: 42}},
	} {
		p := gpu.Process{PID: 42}
		identify(&p, test.root)
		if diff := cmp.Diff(test.want, p); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, pid := range []int{0, -1} {
		p := gpu.Process{PID: pid}
		if identify(&p, ""); p.Visible || p.User != "" {
			t.Errorf("got %+v", p)
		}
	}
}

func TestUserName(t *testing.T) {
	if got := userName(0); got != "root" {
		t.Errorf("user 0 is %q", got)
	}
	if got := userName(3_999_999_999); got != "3999999999" {
		t.Errorf("a user without a name is %q", got)
	}
}

func FuzzProgramName(f *testing.F) {
	f.Add("/usr/bin/python3 --token=secret")
	f.Add("postgres: user\x00\x1b[31m")
	f.Add("/")
	f.Fuzz(func(t *testing.T, title string) {
		name := programName(title)
		if len(name) > commandName || strings.ContainsAny(name, " \t\n\x00\x1b") || name != strings.ToValidUTF8(name, "") {
			t.Errorf("%q", name)
		}
		if words := strings.Fields(title); len(words) > 0 && programName(words[0]) != name {
			t.Errorf("%q depends on what is behind the first word: %q", name, title)
		}
	})
}
