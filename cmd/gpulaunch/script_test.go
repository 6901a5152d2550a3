//go:build linux

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

func TestMain(m *testing.M) { os.Exit(launchertest.Main(m)) }

// TestScripts runs testdata/script/*.txtar against the real binary. Each has
// the fake libraries $EIGHT (eight GPUs), $LOST (the fourth one lost) and $BROKEN
// (driver and library differ), $CPUS, the CPUs that this process may use, $GPULAUNCH, the
// path of the binary, and the commands code (run a command, want an exit code) and oneline (standard error was
// one line that begins with gpulaunch:).
func TestScripts(t *testing.T) {
	allowed := launchertest.AllowedCPUs(t)
	mask := []uint64{1 << allowed.Min()}
	eight := nvmltest.EightGPUs(mask, mask)
	env := []string{
		"GPULAUNCH=" + launchertest.Binary,
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
	files, err := helpTexts.ReadDir("help")
	if err != nil || len(files) != len(topics) {
		t.Errorf("%d files in help for %d topics (%v)", len(files), len(topics), err)
	}
}

// TestHelpWidth keeps every help text within 80 columns: long texts, examples, lists of flags
// and lists of commands.
func TestHelpWidth(t *testing.T) {
	root := newRoot()
	checkWidth(t, root)
	for _, c := range root.Commands() {
		if !c.Hidden {
			checkWidth(t, c)
		}
		if c.Runnable() && !c.Hidden && c.Name() != "help" && c.Name() != "completion" &&
			c.Example == "" {
			t.Errorf("%s has no example", c.Name())
		}
	}
}

func checkWidth(t *testing.T, c *cobra.Command) {
	t.Helper()
	c.InitDefaultHelpFlag()
	for line := range strings.Lines(c.Long + "\n" + c.UsageString()) {
		if n := terminal.Width(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%s: a line of %d columns: %s", c.Name(), n, line)
		}
	}
}

// planSection is the last section of gpulaunch help flags.
const planSection = "FLAGS OF GPULAUNCH PLAN"

// TestHelpFlags compares gpulaunch help flags with the flags of run and plan: each flag is there
// with its placeholder and its default, and nothing else is.
func TestHelpFlags(t *testing.T) {
	text, err := helpTexts.ReadFile("help/flags.txt")
	if err != nil {
		t.Fatal(err)
	}
	run, plan := flagsOf(t, "run"), flagsOf(t, "plan")
	explained := explainedFlags(string(text))
	common, rest := map[string]bool{}, map[string]bool{}
	for _, e := range explained {
		f, section := run.Lookup(e.name), e.section
		if section == planSection {
			f = plan.Lookup(e.name)
		}
		switch {
		case f == nil:
			t.Errorf("--%s is explained under %q but does not exist", e.name, section)
		case common[e.name] || rest[e.name]:
			t.Errorf("--%s is explained twice", e.name)
		default:
			checkExplained(t, e, f)
		}
		switch section {
		case "WORKERS AND NODES", "DEVICES", "CPUS AND MEMORY", planSection:
			common[e.name] = true
		default:
			rest[e.name] = true
		}
	}
	_, last, _ := strings.Cut(string(text), "\n"+planSection+"\n\n")
	intro, _, _ := strings.Cut(last, "\n\n") // names flags of run that plan takes as well
	for _, m := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(intro, -1) {
		common[m[1]] = true
	}
	run.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !common[f.Name] && !rest[f.Name] {
			t.Errorf("--%s of run is not explained", f.Name)
		}
	})
	plan.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !common[f.Name] {
			t.Errorf("the text does not say that plan takes --%s", f.Name)
		}
		delete(common, f.Name)
	})
	for name := range common {
		t.Errorf("the text says that plan takes --%s, which it does not", name)
	}
}

func flagsOf(t *testing.T, name string) *pflag.FlagSet {
	t.Helper()
	c, _, err := newRoot().Find([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	return c.Flags()
}

// explainedFlag is a flag in the text of gpulaunch help flags.
type explainedFlag struct{ section, shorthand, name, placeholder, text string }

// explainedFlags parses that text. A flag begins with two spaces and a dash, its explanation goes
// on in the lines that are indented further, and a section begins with a line in capitals.
func explainedFlags(text string) (list []explainedFlag) {
	head := regexp.MustCompile(`^  (?:-(\w), )?--([a-z-]+)(?: (\S+))?  +(.*)$`)
	capitals := regexp.MustCompile(`^[A-Z][A-Z ]+$`)
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		m := head.FindStringSubmatch(line)
		switch {
		case m != nil:
			list = append(list, explainedFlag{section, m[1], m[2], m[3], m[4]})
		case capitals.MatchString(line):
			section = line
		case strings.HasPrefix(line, "   ") && len(list) > 0:
			list[len(list)-1].text += " " + strings.TrimSpace(line)
		}
	}
	return list
}

// checkExplained compares a flag with its explanation. The explanation has the default in the
// form "(default node)", and "off" for a flag without a value that is not set. If a value of 0
// or no value stands for something else, it says so with "by default". Flags of plan alone have
// no default.
func checkExplained(t *testing.T, e explainedFlag, f *pflag.Flag) {
	t.Helper()
	placeholder, _ := pflag.UnquoteUsage(f)
	if e.shorthand != f.Shorthand || e.placeholder != placeholder {
		t.Errorf("--%s is explained as -%q with %q, and is -%q with %q", f.Name, e.shorthand,
			e.placeholder, f.Shorthand, placeholder)
	}
	want := f.DefValue
	if f.Value.Type() == "bool" {
		want = map[string]string{"false": "off", "true": "on"}[want]
	}
	stated := regexp.MustCompile(`\(default ([^)]*)\)`).FindStringSubmatch(e.text)
	byDefault := strings.Contains(strings.ToLower(e.text), "by default")
	unset := want == "" || want == "[]" || want == "0"
	switch {
	case stated != nil && stated[1] == want && !byDefault:
	case stated == nil && byDefault && unset:
	case stated == nil && !byDefault && e.section == planSection && (want == "" || want == "off"):
	default:
		t.Errorf("--%s: the default is %q, and the text says: %s", f.Name, want, e.text)
	}
}
