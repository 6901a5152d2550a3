package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// skippers are the files that may skip a test by themselves.
var skippers = []string{
	"gpu/nvml/nvmltest/require.go",        // the two ways in which all others do it
	"affinity/affinitytest/captures.go",   // knows nothing of NVML; captures cannot be installed
	"affinity/capture/pipe_other_test.go", // for systems without named pipes
}

// TestSkipsAreDeliberate checks that tests skip by nvmltest.Unavailable, which fails where
// everything is to be installed, or by nvmltest.NotOnThisMachine, which says what the machine
// lacks. A test that skips by itself would be skipped in CI, and nobody would notice.
func TestSkipsAreDeliberate(t *testing.T) {
	found := 0
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, call.Sel.Name) {
				return true
			}
			found++
			if !slices.Contains(skippers, filepath.ToSlash(name)) {
				t.Errorf("%s skips a test: call nvmltest.Unavailable if something can be "+
					"installed for it, or else nvmltest.NotOnThisMachine",
					files.Position(call.Pos()))
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < len(skippers) {
		t.Errorf("only %d calls were found: this test does not see them any more", found)
	}
}
