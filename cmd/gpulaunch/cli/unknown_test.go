package cli_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
)

func jobFlags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(cli.PlanFlags).Register(fs)
	fs.String("report", "", "")
	fs.String("metrics-address", "", "")
	return fs
}

func TestUnknownVariables(t *testing.T) {
	for entry, want := range map[string]string{
		"GPULAUNCH_NPROC=4":             "did you mean GPULAUNCH_NPROC_PER_NODE?",
		"GPULAUNCH_NPROC_PER_NOD=4":     "did you mean GPULAUNCH_NPROC_PER_NODE?",
		"GPULAUNCH_nproc-per-node=4":    "did you mean GPULAUNCH_NPROC_PER_NODE?",
		"GPULAUNCH_AFINITY=node":        "did you mean GPULAUNCH_AFFINITY?",
		"GPULAUNCH_AFFINITY_MODE=node":  "did you mean GPULAUNCH_AFFINITY?",
		"GPULAUNCH_METRICS=off":         "did you mean GPULAUNCH_METRICS_ADDRESS?",
		"GPULAUNCH_MASTER=a":            "did you mean GPULAUNCH_MASTER_ADDR?",
		"GPULAUNCH_RESTARTS=a":          "did you mean GPULAUNCH_MAX_RESTARTS?",
		"GPULAUNCH_PORT=29500":          "did you mean GPULAUNCH_MASTER_PORT?",
		"GPULAUNCH_REPORT=a.json":       "--report has no variable; give it on the command line",
		"GPULAUNCH_MODULE=1":            "--module has no variable",
		"GPULAUNCH_FLAVOUR=x":           "unset it, and see gpulaunch help environment",
		"GPULAUNCH_=x":                  "unset it",
		"GPULAUNCH_SERVICE=x":           "unset it",
		"GPULAUNCH_NPROC_PER_NODE=4":    "",
		"GPULAUNCH_NPROC=":              "", // as a flag's variable, an empty one counts as not set
		"GPULAUNCH_LOCAL_RANK=0":        "",
		"GPULAUNCH_GPU_UUID=GPU-1":      "",
		"GPULAUNCH_TEST_REQUIRE=all":    "",
		"GPULAUNCH_CHAOS_SEED=1":        "",
		"GPULAUNCH_BINARY=/gpulaunch":   "",
		"GPULAUNCH=1":                   "",
		"MY_GPULAUNCH_NPROC=4":          "",
		"GPULAUNCH_SERVICE_HOST=10.0.0": "",
		"GPULAUNCH_UI_SERVICE_PORT=80":  "",

		"GPULAUNCH_UI_SERVICE_PORT_HTTP=80":       "",
		"GPULAUNCH_PORT=tcp://10.0.0.1:80":        "",
		"GPULAUNCH_PORT_80_TCP=tcp://10.0.0.1:80": "",
		"GPULAUNCH_PORT_80_TCP_ADDR=10.0.0.1":     "",
	} {
		got := cli.UnknownVariables([]string{"PATH=/bin", entry}, jobFlags())
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case want == "" && len(got) == 0:
		case want == "" || len(got) != 1 || !strings.HasSuffix(got[0], want) &&
			!strings.Contains(got[0], want) || !strings.Contains(got[0], "inherited "+name+" has"):
			t.Errorf("%s: %q, want %q", entry, got, want)
		case len(value) > 1 && strings.Contains(strings.ReplaceAll(got[0], name, ""), value):
			t.Errorf("%s: the value may be secret: %q", entry, got)
		}
	}
}

// TestAllVariablesAreKnown looks for names of variables in the whole source. What stands there is
// set by gpulaunch for its workers or read by it or by its tests, so none of it may be unknown to a
// gpulaunch that a worker starts.
func TestAllVariablesAreKnown(t *testing.T) {
	root := os.DirFS(filepath.Join("..", "..", ".."))
	names := regexp.MustCompile(`"(GPULAUNCH_[A-Z_]*[A-Z])["=]`)
	found := 0
	flags := jobFlags()
	err := fs.WalkDir(root, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, "cmd/") &&
			strings.HasSuffix(name, "_test.go") {
			return err // tests of the command have names that are wrong on purpose
		}
		text, err := fs.ReadFile(root, name)
		for _, m := range names.FindAllSubmatch(text, -1) {
			found++
			variable := string(m[1])
			if got := cli.UnknownVariables([]string{variable + "=1"}, flags); len(got) > 0 {
				t.Errorf("%s has %s: %s", name, variable, got[0])
			}
		}
		return err
	})
	if err != nil || found < 10 {
		t.Errorf("%d variables found, %v", found, err)
	}
}
