package plan_test

import (
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestImportsNothingImpure checks that the package does not import anything that could read a
// clock, the environment or the machine.
func TestImportsNothingImpure(t *testing.T) {
	allowed := []string{
		"errors", "fmt", "maps", "slices", "strconv", "strings",
		"github.com/gpulaunch/gpulaunch/affinity",
		"github.com/gpulaunch/gpulaunch/gpu",
		"github.com/gpulaunch/gpulaunch/launcher/plural",
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			if path, _ := strconv.Unquote(spec.Path.Value); !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
}

// TestBuildsEverywhereWithoutPurego checks that planning does not link the library that loads NVML,
// on any system.
func TestBuildsEverywhereWithoutPurego(t *testing.T) {
	const this = "github.com/gpulaunch/gpulaunch/launcher/plan"
	for _, system := range []string{"linux", "darwin", "windows"} {
		list := exec.Command("go", "list", "-deps", this)
		list.Env = append(list.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		out, err := list.Output()
		if err != nil {
			t.Fatalf("%s: %v", system, err)
		}
		for dep := range strings.FieldsSeq(string(out)) {
			for _, unwanted := range []string{"github.com/ebitengine/purego", "os/exec", "net"} {
				if dep == unwanted || strings.HasPrefix(dep, unwanted+"/") && unwanted != "net" {
					t.Errorf("%s: planning links %s", system, dep)
				}
			}
		}
	}
}
