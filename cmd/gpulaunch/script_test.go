//go:build linux

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/pflag"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

func TestMain(m *testing.M) { os.Exit(launchertest.Main(m)) }

// TestScripts runs testdata/script/*.txtar against the real binary. Each has
// the fake libraries $EIGHT (eight GPUs), $LOST (the fourth one lost) and $BROKEN
// (driver and library differ), $CPUS, the CPUs that this process may use, and the
// commands code (run a command, want an exit code) and oneline (standard error was
// one line that begins with gpulaunch:).
func TestScripts(t *testing.T) {
	allowed, err := affinity.Current(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	mask := []uint64{1 << allowed.Min()}
	eight := nvmltest.EightGPUs(mask, mask)
	env := []string{
		"EIGHT=" + nvmltest.Install(t, eight),
		"LOST=" + nvmltest.Install(t, eight.LostGPU(3)),
		"BROKEN=" + nvmltest.Install(t, eight.FailsToStart()),
		"CPUS=" + allowed.String(), "FIRST=" + affinity.CPUs(allowed.Min()).String(),
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, env...)
			e.Setenv("PATH", filepath.Dir(launchertest.Binary)+":"+e.Getenv("PATH"))
			e.Setenv("GPULAUNCH_METRICS_ADDRESS", "off")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": code, "oneline": oneline},
	})
}

// code N COMMAND...: the command exits with N.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND...")
	}
	// sh tells the code, which Exec reduces to success or failure.
	line := `"$@"; echo "exit code $?" >&2`
	if err := ts.Exec("sh", append([]string{"-c", line, "sh"}, args[1:]...)...); err != nil {
		ts.Fatalf("%v", err)
	}
	if got := ts.ReadFile("stderr"); !strings.HasSuffix(got, "exit code "+args[0]+"\n") {
		ts.Fatalf("want exit code %s, got stderr:\n%s", args[0], got)
	}
}

// oneline: the last code command printed one line of gpulaunch's own on standard
// error, and no stack trace.
func oneline(ts *testscript.TestScript, neg bool, _ []string) {
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stderr")), "\n")
	if neg || len(lines) != 2 || !strings.HasPrefix(lines[0], "gpulaunch: ") {
		ts.Fatalf("want one line, got:\n%s", strings.Join(lines, "\n"))
	}
}

func TestHelpTopics(t *testing.T) {
	root := newRoot()
	for _, topic := range topics {
		c, _, err := root.Find([]string{topic.name})
		if err != nil || len(c.Long) < 200 {
			t.Errorf("help topic %s: %v, %d bytes", topic.name, err, len(c.Long))
		}
	}
	for _, c := range root.Commands() {
		for _, line := range strings.Split(c.Long+"\n"+c.Example, "\n") {
			if len(line) > 90 {
				t.Errorf("%s: a line of %d characters: %s", c.Name(), len(line), line)
			}
		}
		if c.Runnable() && !c.Hidden && c.Name() != "help" && c.Name() != "completion" && c.Example == "" {
			t.Errorf("%s has no example", c.Name())
		}
	}
}

// TestREADMEFlags keeps the README's table and the flags of run together.
func TestREADMEFlags(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	run, _, err := newRoot().Find([]string{"run"})
	if err != nil {
		t.Fatal(err)
	}
	run.InitDefaultHelpFlag()
	told := map[string]bool{"help": true}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "| `-") {
			for _, m := range regexp.MustCompile("`--([a-z-]+)").FindAllStringSubmatch(strings.Split(line, "|")[1], -1) {
				told[m[1]] = true
			}
		}
	}
	run.Flags().VisitAll(func(f *pflag.Flag) {
		if !told[f.Name] {
			t.Errorf("the README does not tell of --%s", f.Name)
		}
		delete(told, f.Name)
	})
	for name := range told {
		t.Errorf("the README tells of --%s, which run does not have", name)
	}
}
