package gpu_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestPackageIsPure checks that package gpu holds only data and rules: no file of it, for
// whatever system, imports a package that reaches the machine, or reads the clock.
func TestPackageIsPure(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		checked++
		for _, problem := range impurities(t, name, nil) {
			t.Error(problem)
		}
	}
	if checked == 0 {
		t.Error("no file was checked")
	}
}

// TestImpuritiesAreFound checks the check.
func TestImpuritiesAreFound(t *testing.T) {
	for source, want := range map[string]int{
		`package p; import ("fmt"; "time"); func f(t time.Time) { fmt.Println(t) }`:          0,
		`package p; import ("os"; "os/exec"; "os/user"; "os/signal"; "syscall"; "net")`:      6,
		`package p; import ("golang.org/x/sys/unix"; "github.com/ebitengine/purego")`:        2,
		`package p; import "time"; var now, since = time.Now(), time.Since(time.Unix(1, 0))`: 2,
	} {
		if got := impurities(t, "source.go", source); len(got) != want {
			t.Errorf("%s has %d problems, want %d: %q", source, len(got), want, got)
		}
	}
}

// impurities lists what a file must not contain. A nil source means that the file is read.
func impurities(t *testing.T, name string, source any) (problems []string) {
	t.Helper()
	positions := token.NewFileSet()
	file, err := parser.ParseFile(positions, name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if reachesMachine(path) {
			problems = append(problems, positions.Position(spec.Pos()).String()+": imports "+path)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && readsClock(s) {
			problems = append(problems,
				positions.Position(s.Pos()).String()+": calls time."+s.Sel.Name)
		}
		return true
	})
	return problems
}

// reachesMachine reports whether package gpu must not import a package.
func reachesMachine(path string) bool {
	return slices.ContainsFunc(
		[]string{"os", "syscall", "net", "golang.org/x/sys", "github.com/ebitengine/purego"},
		func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
}

// readsClock reports whether a selector names a function of package time that depends on the
// current time.
func readsClock(s *ast.SelectorExpr) bool {
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == "time" && slices.Contains([]string{
		"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker",
	}, s.Sel.Name)
}
