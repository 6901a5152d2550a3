//go:build linux

package launcher

import (
	"archive/zip"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// zipOf returns an archive of empty files.
func zipOf(t *testing.T, names ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		if _, err := w.Create(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// inFolder makes a folder with files the current one. A name with a star is executable.
func inFolder(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, content := range files {
		name, isExecutable := strings.CutSuffix(name, "*")
		mode := os.FileMode(0o644)
		if isExecutable {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
}

// TestResolve looks for programs of all kinds, with an interpreter ./py.
func TestResolve(t *testing.T) {
	app := zipOf(t, "package/module.py", "__main__.py")
	inFolder(t, map[string]string{
		"py*": "", "script.py": "", "app.pyz": app, "app.pyzw": app, "app": app, "app.zip*": app,
		"started.zip*": "#!/bin/sh\n" + app, "started": "#!/bin/sh\n" + app,
		"compiled.zip": zipOf(t, "__main__.pyc"), "other.zip": zipOf(t, "main.py"),
		"deeper.zip*":        zipOf(t, "a/__main__.py"),
		"folder/__main__.py": "", "other/main.py": "", "plain*": "",
		"bin/app*": "", "bin/closed": "",
	})
	t.Setenv("PATH", "/no/such/folder:bin")
	for _, test := range []struct {
		command Command
		want    string // the argument vector, or a part of the error
		code    int
	}{
		{Command{Args: []string{"script.py", "a"}}, "./py -u script.py a", 0},
		{Command{Args: []string{"app.pyz", "a"}}, "./py -u app.pyz a", 0},
		{Command{Args: []string{"./app.pyzw"}}, "./py -u ./app.pyzw", 0},
		{Command{Args: []string{"./app"}}, "./py -u ./app", 0},
		{Command{Args: []string{"app.zip"}}, "./py -u app.zip", 0},
		{Command{Args: []string{"./app.zip"}}, "./py -u ./app.zip", 0},
		{Command{Args: []string{"./started"}}, "./py -u ./started", 0},
		{Command{Args: []string{"compiled.zip"}}, "./py -u compiled.zip", 0},
		{Command{Args: []string{"./folder", "a"}}, "./py -u ./folder a", 0},
		{Command{Args: []string{"folder/"}}, "./py -u folder/", 0},
		{Command{Args: []string{"a.b"}, Module: true}, "./py -u -m a.b", 0},
		// What the kernel can execute is left to it, and so is what PATH has.
		{Command{Args: []string{"./started.zip"}}, "./started.zip", 0},
		{Command{Args: []string{"app"}}, "bin/app", 0},
		{Command{Args: []string{"./plain"}}, "./plain", 0},
		{Command{Args: []string{"./deeper.zip"}}, "./deeper.zip", 0},
		{Command{Args: []string{"./app.zip"}, NoPython: true}, "./app.zip", 0},
		{Command{Args: []string{"app.pyz"}, NoPython: true}, "there is one in this folder", 127},
		{Command{Args: []string{"./folder"}, NoPython: true}, "it is a folder", 126},
		{Command{Args: []string{"./other"}}, "a folder with a __main__.py", 126},
		{Command{Args: []string{"./other.zip"}}, "chmod +x", 126},
		{Command{Args: []string{"no.pyz"}}, "no such file", 127},
		{Command{Args: []string{"closed"}}, "it is not executable", 126},
		{Command{Args: []string{"folder"}}, "./py -u folder", 0},
		{Command{Args: []string{"script.py"}, Python: "no"}, "PYTHON_EXEC", 127},
	} {
		if test.command.Python == "" {
			test.command.Python = "./py"
		}
		checkResolve(t, test.command, test.want, test.code)
	}
}

// checkResolve compares the argument vector of a command or, if code is not 0, its error.
func checkResolve(t *testing.T, c Command, want string, code int) {
	t.Helper()
	argv, err := c.Resolve()
	if code == 0 {
		if got := strings.Join(argv, " "); got != want || err != nil {
			t.Errorf("%+v: %q, %v, want %q", c, got, err, want)
		}
		return
	}
	var start *StartError
	if !errors.As(err, &start) || start.ExitCode() != code ||
		!strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("%+v: %q, %v, want code %d and %q", c, argv, err, code, want)
	}
}

// TestMissingInterpreter names interpreters that are not there. For each script there is a similar
// one that can be started.
func TestMissingInterpreter(t *testing.T) {
	inFolder(t, map[string]string{
		"gone*": "#!/no/such/shell\n", "crlf*": "#!/bin/sh\r\necho\r\n",
		"option*": "#! /no/such/shell -e \n", "relative*": "#!sh\n", "data": "",
		"env*": "#!/usr/bin/env no-such-python\n", "env-crlf*": "#!/usr/bin/env sh\r\n",
		"env-words*": "#!/usr/bin/env sh -e\n", "nested*": "#!./gone\n", "closed*": "#!./data\n",
		"split*":  "#!/usr/bin/env -S no-such-python\n",
		"assign*": "#!/usr/bin/env A=1\n", "env-ok*": "#!/usr/bin/env sh\n",
		"argument-crlf*": "#!/bin/sh -e\r\n", "nested-ok*": "#!./env-ok\n", "none*": "#!\n",
		"long*": "#!/no/such/shell " + strings.Repeat("x", 300) + "\n", "empty*": "", "last*": "#!/no",
		"loop*": "#!./loop\n", "python.sh*": "#!/no/such/python-wrapper\n", "script.py": "",
	})
	for name, want := range map[string]string{
		"gone": `cannot start "./gone": its interpreter "/no/such/shell" does not exist; ` +
			`install it, or correct the first line of "./gone": "#!/no/such/shell"`,
		"option": `its interpreter "/no/such/shell" does not exist`,
		"crlf": `its interpreter "/bin/sh\r" does not exist; the first line of "./crlf" ends in a ` +
			`carriage return, which counts as part of it: convert the file with sed -i 's/\r$//'`,
		"relative": `its interpreter "sh" does not exist`,
		"env":      `its interpreter "no-such-python" is not in PATH; install it`,
		"env-crlf": `its interpreter "sh\r" is not in PATH; the first line of "./env-crlf" ends in`,
		"env-words": `its interpreter "sh -e" is not in PATH; the kernel passes all of that to env ` +
			`as one word: write "#!/usr/bin/env -S sh -e"`,
		"nested": `"/no/such/shell" does not exist; install it, or correct the first line of "./gone"`,
		"last":   `its interpreter "/no" does not exist`,
	} {
		checkResolve(t, Command{Args: []string{"./" + name}}, want, 127)
	}
	checkResolve(t, Command{Args: []string{"./closed"}}, `its interpreter "./data" is not executable`,
		126)
	checkResolve(t, Command{Args: []string{"script.py"}, Python: "./python.sh"},
		`cannot start "./python.sh": its interpreter "/no/such/python-wrapper" does not exist`, 127)
	for _, name := range []string{"split", "assign", "env-ok", "argument-crlf", "nested-ok", "none",
		"long", "empty", "loop"} {
		checkResolve(t, Command{Args: []string{"./" + name}}, "./"+name, 0)
	}
}

// TestMissingLoader has a program whose dynamic loader is not there. The kernel says ENOENT, as if
// the program were not there.
func TestMissingLoader(t *testing.T) {
	program, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	loaders := []string{"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"}
	i := slices.IndexFunc(loaders, func(l string) bool { return bytes.Contains(program, []byte(l)) })
	if i < 0 {
		nvmltest.NotOnThisMachine(t,
			"/bin/true has another dynamic loader than those of glibc on amd64 and arm64")
	}
	gone := strings.Replace(loaders[i], "/l", "/x", 1)
	inFolder(t, map[string]string{
		"true*": strings.ReplaceAll(string(program), loaders[i], gone), "fine*": string(program),
	})
	err = execError("./true", unix.ENOENT)
	if want := `cannot start "./true": its dynamic loader "` + gone + `" does not exist; install ` +
		"the C library"; !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	for _, name := range []string{"./fine", "./gone"} {
		if err := execError(name, unix.ENOENT); err.Error() != `cannot start "`+name+
			`": no such file` {
			t.Error(err)
		}
	}
}

// TestByteOrderMark has a script that the kernel does not take for one.
func TestByteOrderMark(t *testing.T) {
	inFolder(t, map[string]string{"marked*": "\xef\xbb\xbf#!/bin/sh\n", "text*": "just words"})
	const reason = ": it is neither a program for this machine nor a script with a #! line"
	for name, want := range map[string]string{
		"./marked": reason + "; its first line begins with a byte order mark: remove that with " +
			`sed -i '1s/^\xef\xbb\xbf//'`,
		"./text": reason,
	} {
		cmd := exec.Command(name)
		err := cmd.Start()
		if err == nil {
			_ = cmd.Wait()
		}
		got := execError(name, err)
		if !errors.Is(err, unix.ENOEXEC) || got.ExitCode() != 126 ||
			got.Error() != `cannot start "`+name+`"`+want {
			t.Errorf("%v, %v, want %s", err, got, want)
		}
	}
}

// TestSearchPath searches as execvp(3) does.
func TestSearchPath(t *testing.T) {
	inFolder(t, map[string]string{"here*": "", "a/tool": "", "b/tool*": "", "c/closed": "",
		"d/sub/folder": ""})
	for _, test := range []struct {
		path, name, want string
		code             int
	}{
		{"unset", "sh", "/bin/sh", 0},
		{"unset", "nothing", "without it, /bin and /usr/bin are searched", 127},
		{"", "here", "./here", 0},
		{"", "sh", "no such program in PATH; check the name and the PATH", 127},
		{"a:b", "tool", "b/tool", 0}, // one that is not executable does not end the search
		{"a", "tool", "it is not executable", 126},
		{"b:", "here", "./here", 0},
		{".", "here", "./here", 0},
		{"b", "here", "there is one in this folder: ./here", 127},
		{"c:no-such-folder", "closed", "it is not executable", 126},
		{"d", "sub", "no such program in PATH", 127},
		{"a", "", "no such program in PATH", 127},
		{"a", "./b/tool", "./b/tool", 0},
	} {
		t.Setenv("PATH", test.path)
		if test.path == "unset" {
			if err := os.Unsetenv("PATH"); err != nil {
				t.Fatal(err)
			}
		}
		checkResolve(t, Command{Args: []string{test.name}}, test.want, test.code)
	}
}
