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

// procRoot returns a root folder whose /proc has process 42, with open files, and a PID
// namespace.
func procRoot(t *testing.T, namespace, cmdline, comm string, open ...string) string {
	t.Helper()
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "proc/42/cmdline"), cmdline)
	writeFile(t, filepath.Join(root, "proc/42/comm"), comm)
	link(t, namespace, filepath.Join(root, "proc/self/ns/pid"))
	for i, file := range open {
		link(t, file, filepath.Join(root, "proc/42/fd", fmt.Sprint(i)))
	}
	return root
}

// link makes a symbolic link and its folder.
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
	const host, container = initialPIDNamespace, "pid:[4026532000]"
	unknown := gpu.Process{PID: 42}
	known := gpu.Process{PID: 42, User: me.Username, Command: "python3", Visible: true}
	titled := known
	titled.Command = "ray::train"
	for name, test := range map[string]struct {
		root string
		want gpu.Process
	}{
		"host": {
			procRoot(t, host, "/usr/bin/python3\x00--token\x00secret\x00", "pt_main_thread\n"),
			known,
		},
		"title with arguments": {procRoot(t, host, "ray::train --token=/secret", "x\n"), titled},
		"no command line":      {procRoot(t, host, "", "python3\n"), known},
		"container, GPU open": {
			procRoot(t, container, "python3\x00", "", "/dev/null", "/dev/nvidiactl"), known,
		},
		"container, another process": {
			procRoot(t, container, "bash\x00", "", "/dev/null", "/home/nvidia"), unknown,
		},
		"container, files are hidden": {procRoot(t, container, "bash\x00", ""), unknown},
		"no such process":             {t.TempDir(), unknown},
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
			t.Errorf("process %d was identified as %#v", pid, p)
		}
	}
}

func TestUserName(t *testing.T) {
	if got := userName(0); got != "root" {
		t.Errorf("user 0 is called %q, want root", got)
	}
	if got := userName(3_999_999_999); got != "3999999999" {
		t.Errorf("a user without a name is called %q, want 3999999999", got)
	}
}

func FuzzProgramName(f *testing.F) {
	f.Add("/usr/bin/python3 --token=secret")
	f.Add("postgres: user\x00\x1b[31m")
	f.Add("/")
	f.Fuzz(func(t *testing.T, title string) {
		name := programName(title)
		if len(name) > programNameLimit {
			t.Errorf("the name %q has %d bytes", name, len(name))
		}
		if strings.ContainsAny(name, " \t\n\x00\x1b") {
			t.Errorf("the name %q has blanks or control characters", name)
		}
		if name != strings.ToValidUTF8(name, "") {
			t.Errorf("the name %q is not UTF-8", name)
		}
		if words := strings.Fields(title); len(words) > 0 && programName(words[0]) != name {
			t.Errorf("the name %q depends on what follows the first word of %q", name, title)
		}
	})
}
