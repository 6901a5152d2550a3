//go:build linux

package forkserver

import (
	"archive/zip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// volatile matches what differs between two runs of the same program: addresses, pids and thread
// identifiers.
var volatile = regexp.MustCompile(
	`0x[0-9a-f]+|process \d+|Process-\d+|MainThread, started \d+|thread \d+|pid=\d+`)

// same wants a program to do the same when it is started directly and when it is forked.
func same(t *testing.T, plain, forked result) {
	t.Helper()
	if forked.exit.Core != plain.exit.Core {
		plain.exit.Core = forked.exit.Core // whether there is a core file depends on the system
	}
	if plain.exit != forked.exit {
		t.Errorf("started directly, it %s, but forked, it %s", plain.exit, forked.exit)
	}
	for _, s := range []struct{ name, plain, forked string }{
		{"stdout", plain.stdout, forked.stdout}, {"stderr", plain.stderr, forked.stderr},
	} {
		a := strings.Split(volatile.ReplaceAllString(s.plain, "…"), "\n")
		b := strings.Split(volatile.ReplaceAllString(s.forked, "…"), "\n")
		for i := range max(len(a), len(b)) {
			if i >= len(a) || i >= len(b) || a[i] != b[i] {
				t.Errorf("line %d of %s differs:\ndirectly %q\n  forked %q",
					i+1, s.name, threeLines(a, i), threeLines(b, i))
				break
			}
		}
	}
}

// threeLines returns the lines from i on, at most three.
func threeLines(lines []string, i int) []string {
	return lines[min(i, len(lines)):min(i+3, len(lines))]
}

// both starts a program directly, forks it, and compares the two.
func (p run) both(t *testing.T) (forked result) {
	t.Helper()
	launchertest.BecomeSubreaper(t)
	cfg := modules(t, p.preload...)
	cfg.Argv = append([]string{p.python, "-u"}, p.args...)
	cfg.Environ = p.env
	forked = p.forkedly(t, usable(t, cfg))
	same(t, p.plainly(t), forked)
	return forked
}

func TestSameFacts(t *testing.T) {
	for name, more := range map[string][]string{
		"plain": {},
		"unusual": {"LATIN=\xff\xfe", "TWICE=1", "TWICE=2", "EMPTY=", "NOVALUE", "LINES=a\nb",
			"EQ==a=b"},
		"safe path":        {"PYTHONSAFEPATH=1"},
		"warnings":         {"PYTHONWARNINGS=error"},
		"another hook":     {"PYTHONPATH=" + data(t, "site") + ":relative"},
		"no path":          {"PYTHONPATH="},
		"other encoding":   {"PYTHONIOENCODING=latin-1:replace"},
		"development mode": {"PYTHONDEVMODE=1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := run{
				python: launchertest.Python(t),
				args:   []string{"testdata/facts.py", "a", "-u", "", "é b"},
				env:    environ(t, more...), stdin: "testdata/facts.py",
			}
			const newer = "import sys; sys.exit(sys.version_info < (3, 9))"
			if name == "development mode" && exec.Command(p.python, "-c", newer).Run() != nil {
				nvmltest.NotOnThisMachine(t, "os.fork of its Python 3.8 crashes in development "+
					"mode")
			}
			p.both(t)
		})
	}
}

// TestSameStreams has template processes whose files are of other kinds than those of the workers.
func TestSameStreams(t *testing.T) {
	launchertest.BecomeSubreaper(t)
	cfg := modules(t, "logging")
	cfg.Argv[2] = data(t, "facts.py")
	_, w := pipe(t)
	for name, file := range map[string]*os.File{"pipe": w, "null": nil} {
		cfg.Stdout, cfg.Stderr = file, file
		template := usable(t, cfg)
		for _, stdin := range []string{data(t, "ends.py"), os.DevNull} {
			p := run{python: cfg.Argv[0], args: cfg.Argv[2:], env: cfg.Environ, stdin: stdin}
			t.Run(name+" "+stdin, func(t *testing.T) {
				same(t, p.plainly(t), p.forkedly(t, template))
			})
		}
	}
}

func TestSameModules(t *testing.T) {
	for _, args := range [][]string{
		{"-m", "testdata.pkg", "a"},
		{"-m", "testdata.pkg.facts", "-m"},
		{"-m", "testdata.nonesuch"},
		{"-m", "json.tool", "testdata/nonesuch"},
		{"testdata/pkg/facts.py"},
		{"testdata/latin.py"},
		{"testdata/wrong.py"},
		{"testdata/nonesuch.py"},
		{data(t, "facts.py")},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			p := run{
				python: launchertest.Python(t), args: args, env: environ(t), stdin: os.DevNull,
				preload: []string{"json", "email.message"},
			}
			p.both(t)
		})
	}
}

// TestSameApps runs a zip archive and a folder with a __main__ module. The preloaded module is in
// them: the interpreter looks there instead of in the folder around them.
func TestSameApps(t *testing.T) {
	folder := t.TempDir()
	facts, err := os.ReadFile(data(t, "facts.py"))
	if err != nil {
		t.Fatal(err)
	}
	archive, err := os.Create(filepath.Join(folder, "app.pyz"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	w := zip.NewWriter(archive)
	app := filepath.Join(folder, "app")
	if err := os.Mkdir(app, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"__main__.py": string(facts) + "\nimport inside; print(inside.__file__)\n",
		"inside.py":   "",
	} {
		file, err := w.Create(name)
		if err == nil {
			_, err = io.WriteString(file, content)
		}
		err = errors.Join(err, os.WriteFile(filepath.Join(app, name), []byte(content), 0o600))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{archive.Name(), app} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			p := run{
				python: launchertest.Python(t), args: []string{name, "a"}, stdin: os.DevNull,
				env: environ(t, "PYTHONDONTWRITEBYTECODE=1"), preload: []string{"inside"},
			}
			if r := p.both(t); !r.exit.OK() || !strings.Contains(r.stdout, "inside.py") {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestSameEnds runs every case of ends.py. All workers are forked from one template process.
func TestSameEnds(t *testing.T) {
	launchertest.BecomeSubreaper(t)
	cfg := modules(t, "logging")
	cfg.Argv[2] = data(t, "ends.py")
	template := usable(t, cfg)
	source, err := os.ReadFile(data(t, "ends.py"))
	if err != nil {
		t.Fatal(err)
	}
	cases := regexp.MustCompile(`(?m)^    "(.+?)": `).FindAllSubmatch(source, -1)
	if len(cases) < 20 {
		t.Fatalf("found %d cases in ends.py, want at least 20", len(cases))
	}
	for _, c := range cases {
		t.Run(string(c[1]), func(t *testing.T) {
			p := run{
				python: cfg.Argv[0], args: cfg.Argv[2:], env: environ(t, "CASE="+string(c[1])),
				stdin: os.DevNull,
			}
			same(t, p.plainly(t), p.forkedly(t, template))
		})
	}
}
