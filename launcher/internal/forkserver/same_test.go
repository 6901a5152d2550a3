//go:build linux

package forkserver

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// volatile matches what differs between two runs of the same program: pids and
// addresses.
var volatile = regexp.MustCompile(`0x[0-9a-f]+|process \d+|Process-\d+|MainThread, started \d+|thread \d+|pid=\d+`)

// same compares two runs.
func same(t *testing.T, plain, forked result) {
	t.Helper()
	if forked.exit.Core != plain.exit.Core {
		plain.exit.Core = forked.exit.Core // whether the kernel writes one is not the program's doing
	}
	if plain.exit != forked.exit {
		t.Errorf("python: %v, worker: %v", plain.exit, forked.exit)
	}
	for _, s := range []struct{ name, plain, forked string }{
		{"stdout", plain.stdout, forked.stdout}, {"stderr", plain.stderr, forked.stderr},
	} {
		a := strings.Split(volatile.ReplaceAllString(s.plain, "…"), "\n")
		b := strings.Split(volatile.ReplaceAllString(s.forked, "…"), "\n")
		for i := range max(len(a), len(b)) {
			if i >= len(a) || i >= len(b) || a[i] != b[i] {
				t.Errorf("%s, line %d:\npython %q\nworker %q", s.name, i+1, rest(a, i), rest(b, i))
				break
			}
		}
	}
}

func rest(lines []string, i int) []string { return lines[min(i, len(lines)):min(i+3, len(lines))] }

// both runs a program both ways and compares.
func (p run) both(t *testing.T) (forked result) {
	t.Helper()
	subreaper(t)
	cfg := modules(t, p.preload...)
	cfg.Argv = append([]string{p.python, "-u"}, p.args...)
	cfg.Environ = p.env
	forked = p.forkedly(t, usable(t, cfg))
	same(t, p.plainly(t), forked)
	return forked
}

func TestSameFacts(t *testing.T) {
	for name, more := range map[string][]string{
		"plain":            {},
		"unusual":          {"LATIN=\xff\xfe", "TWICE=1", "TWICE=2", "EMPTY=", "NOVALUE", "LINES=a\nb", "EQ==a=b"},
		"safe path":        {"PYTHONSAFEPATH=1"},
		"warnings":         {"PYTHONWARNINGS=error"},
		"another hook":     {"PYTHONPATH=" + data(t, "site") + ":relative"},
		"no path":          {"PYTHONPATH="},
		"other encoding":   {"PYTHONIOENCODING=latin-1:replace"},
		"development mode": {"PYTHONDEVMODE=1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := run{python: python(t), args: []string{"testdata/facts.py", "a", "-u", "", "é b"},
				env: environ(t, more...), stdin: "testdata/facts.py"}
			const good = "import sys; sys.exit(sys.version_info < (3, 9))"
			if name == "development mode" && exec.Command(p.python, "-c", good).Run() != nil {
				t.Skip("Python 3.8's os.fork crashes in development mode")
			}
			p.both(t)
		})
	}
}

// TestSameStreams has templates whose files are of other kinds than the workers'.
func TestSameStreams(t *testing.T) {
	subreaper(t)
	cfg := modules(t, "logging")
	cfg.Argv[2] = data(t, "facts.py")
	_, w := pipe(t)
	for name, file := range map[string]*os.File{"pipe": w, "null": nil} {
		cfg.Stdout, cfg.Stderr = file, file
		template := usable(t, cfg)
		for _, stdin := range []string{data(t, "ends.py"), os.DevNull} {
			p := run{python: python(t), args: cfg.Argv[2:], env: cfg.Environ, stdin: stdin}
			t.Run(name+" "+stdin, func(t *testing.T) { same(t, p.plainly(t), p.forkedly(t, template)) })
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
			p := run{python: python(t), args: args, env: environ(t), stdin: os.DevNull, preload: []string{"json", "email.message"}}
			p.both(t)
		})
	}
}

// TestSameEnds forks all workers from one template.
func TestSameEnds(t *testing.T) {
	subreaper(t)
	cfg := modules(t, "logging")
	cfg.Argv[2] = data(t, "ends.py")
	template := usable(t, cfg)
	source, err := os.ReadFile(data(t, "ends.py"))
	if err != nil {
		t.Fatal(err)
	}
	cases := regexp.MustCompile(`(?m)^    "(.+?)": `).FindAllSubmatch(source, -1)
	if len(cases) < 20 {
		t.Fatalf("only %d cases in ends.py", len(cases))
	}
	for _, c := range cases {
		t.Run(string(c[1]), func(t *testing.T) {
			p := run{python: python(t), args: cfg.Argv[2:], env: environ(t, "CASE="+string(c[1])), stdin: os.DevNull}
			same(t, p.plainly(t), p.forkedly(t, template))
		})
	}
}
