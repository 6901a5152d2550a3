//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// TestReportThatCannotBeWritten: a job that ended well fails if its report cannot be written in the
// end, because whoever asked for the report goes by it; and a job that failed keeps its exit code.
func TestReportThatCannotBeWritten(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		code   int
		says   string // "" if nothing is to be said of the report
		file   bool
	}{
		"a good end":           {`rm -r "$0"`, 125, "cannot write the report to", false},
		"a failure":            {`rm -r "$0"; exit 3`, 3, "", false},
		"with room (control)":  {`true`, 0, "", true},
		"a failure (control) ": {`exit 3`, 3, "", true},
	} {
		folder := filepath.Join(t.TempDir(), "reports")
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, "report.json")
		j := launchertest.Start(t, nil, "run", "--nproc-per-node=1", "--report="+path,
			"--", "sh", "-c", c.script, folder)
		code, stderr := j.Exit()
		if code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: exit code %d, want %d and %q\n%s", name, code, c.code, c.says, stderr)
		}
		if _, err := os.Stat(path); (err == nil) != c.file {
			t.Errorf("%s: the report is there: %v", name, err == nil)
		}
	}
}
