package main

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows are the packages of this module that each package may import, with the reason
// where it is not plain from their names. CONTRIBUTING.md draws the same; tests may import
// more.
var arrows = map[string]string{
	// The command may use everything.
	"cmd/gpulaunch": "affinity affinity/capture affinity/draw cmd/gpulaunch/cli " +
		"cmd/gpulaunch/run cmd/gpulaunch/startjob cmd/gpulaunch/startkeeper gpu gpu/probe " +
		"launcher launcher/doctor launcher/machine launcher/plan launcher/terminal metrics",
	"cmd/gpulaunch/cli": "affinity launcher/plan launcher/terminal",
	"cmd/gpulaunch/run": "cmd/gpulaunch/cli gpu gpu/probe launcher launcher/machine " +
		"launcher/plan launcher/plural launcher/report launcher/supervisor launcher/terminal " +
		"launcher/keeper/early",
	"cmd/gpulaunch/startearly": "launcher/keeper/early",
	"cmd/gpulaunch/startjob": "cmd/gpulaunch/run cmd/gpulaunch/startearly " +
		"launcher/keeper/early",
	"cmd/gpulaunch/startkeeper": "cmd/gpulaunch/startearly launcher/keeper",

	"metrics": "gpu launcher launcher/plan launcher/report",

	// A job, and what is around it.
	"launcher": "gpu launcher/internal/cgroup launcher/internal/errorfile " +
		"launcher/internal/forkserver launcher/internal/monitor launcher/internal/process " +
		"launcher/internal/spawn launcher/internal/stdio launcher/plan launcher/plural " +
		"launcher/report launcher/supervisor launcher/worker",
	"launcher/doctor": "affinity gpu gpu/probe launcher/machine launcher/plan " +
		"launcher/plural launcher/terminal",
	"launcher/keeper": "launcher/internal/cgroup launcher/internal/link " +
		"launcher/internal/process launcher/keeper/early launcher/terminal",
	"launcher/keeper/early": "launcher/internal/link",
	"launcher/machine":      "affinity gpu launcher/internal/cgroup launcher/plan launcher/plural",
	"launcher/plan":         "affinity gpu launcher/plural",
	"launcher/plural":       "",
	// facts are defined there
	"launcher/report": "launcher/internal/errorfile launcher/internal/process launcher/plan " +
		"launcher/terminal",
	"launcher/supervisor": "launcher/internal/link launcher/internal/process " +
		"launcher/internal/spawn launcher/keeper/early",
	"launcher/terminal": "",
	"launcher/worker":   "launcher/internal/errorfile",

	"launcher/internal/cgroup":     "launcher/internal/process",
	"launcher/internal/errorfile":  "",
	"launcher/internal/forkserver": "launcher/internal/process",
	"launcher/internal/link":       "",
	// it finds facts of the report
	"launcher/internal/monitor": "affinity gpu launcher/internal/process launcher/plan " +
		"launcher/report",
	"launcher/internal/process": "launcher/plural",
	"launcher/internal/spawn": "affinity launcher/internal/cgroup " +
		"launcher/internal/forkserver launcher/internal/process",
	"launcher/internal/stdio": "launcher/internal/process",

	// Devices and CPUs know nothing of jobs, and not of each other.
	"affinity":                 "affinity/internal/rootfs",
	"affinity/capture":         "affinity affinity/internal/rootfs",
	"affinity/draw":            "affinity launcher/plural launcher/terminal", // it draws text
	"affinity/internal/rootfs": "",
	"gpu":                      "",
	"gpu/nvml":                 "",
	"gpu/probe":                "gpu gpu/nvml",

	// For tests.
	"":                       "",
	"affinity/affinitytest":  "affinity/internal/rootfs",
	"gpu/gputest":            "gpu",
	"gpu/nvml/nvmltest":      "",
	"launcher/chaos":         "",
	"launcher/hardware":      "",
	"launcher/launchertest":  "affinity gpu/nvml/nvmltest launcher/internal/link",
	"launcher/plan/plantest": "affinity gpu launcher/plan",
}

// Only the listed packages import each other, and each listed arrow is there.
func TestArrowsBetweenPackages(t *testing.T) {
	found := map[string]map[string]bool{}
	for _, system := range []string{"linux", "darwin"} {
		addImports(t, system, found)
	}
	for from, allowed := range arrows {
		if found[from] == nil {
			t.Errorf("%s is listed and not there", name(from))
		}
		for _, to := range strings.Fields(allowed) {
			if !found[from][to] {
				t.Errorf("%s does not import %s any more: take the arrow off the list", name(from),
					to)
			}
		}
	}
	for _, from := range slices.Sorted(maps.Keys(found)) {
		allowed, listed := arrows[from]
		if !listed {
			t.Errorf("%s is a new room: list it here and in CONTRIBUTING.md", name(from))
		}
		for _, to := range slices.Sorted(maps.Keys(found[from])) {
			if !slices.Contains(strings.Fields(allowed), to) {
				t.Errorf("%s imports %s, which it may not", name(from), to)
			}
		}
	}
}

// addImports adds what the packages of this module import of it when built for a system.
func addImports(t *testing.T, system string, found map[string]map[string]bool) {
	t.Helper()
	const module = "github.com/gpulaunch/gpulaunch"
	list := exec.Command("go", "list", "-e", "-f", `{{.ImportPath}} {{join .Imports " "}}`,
		module+"/...")
	list.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list for %s: %v", system, err)
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		from := strings.Trim(strings.TrimPrefix(words[0], module), "/")
		if found[from] == nil {
			found[from] = map[string]bool{}
		}
		for _, path := range words[1:] {
			if to, ok := strings.CutPrefix(path, module+"/"); ok {
				found[from][to] = true
			}
		}
	}
}

func name(path string) string {
	if path == "" {
		return "the module's root"
	}
	return path
}
