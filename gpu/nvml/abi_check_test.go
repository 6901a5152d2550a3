//go:build linux && !nonvml

package nvml

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/build"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

var fileSet = token.NewFileSet()

// goNVML returns the folder of go-nvml's package nvml, in the version that go.mod requires.
func goNVML(t *testing.T) string {
	t.Helper()
	for _, args := range [][]string{{"list", "-m", "-json"}, {"mod", "download", "-json"}} {
		out, err := exec.Command("go", append(args, "github.com/NVIDIA/go-nvml")...).Output()
		if err != nil {
			continue
		}
		var module struct{ Dir string }
		if json.Unmarshal(out, &module) == nil && module.Dir != "" {
			return filepath.Join(module.Dir, "pkg", "nvml")
		}
	}
	nvmltest.Unavailable(t, "the source of github.com/NVIDIA/go-nvml is not in the module cache "+
		"and cannot be downloaded")
	return ""
}

// checked is a type-checked package with the sizes of types on one processor.
type checked struct {
	*types.Package
	sizes types.Sizes
}

// layout returns the layout of a struct, or 0 if there is no struct with this name.
func (c checked) layout(name string) (size int64, fields []*types.Var, offsets []int64) {
	object := c.Scope().Lookup(name)
	if object == nil {
		return 0, nil, nil
	}
	s, ok := object.Type().Underlying().(*types.Struct)
	if !ok {
		return 0, nil, nil
	}
	fields = slices.Collect(s.Fields())
	return c.sizes.Sizeof(s), fields, c.sizes.Offsetsof(fields)
}

// offset returns the offset of a field, or -1 if there is no such field.
func (c checked) offset(name, field string) int64 {
	_, fields, offsets := c.layout(name)
	for i, f := range fields {
		if f.Name() == field {
			return offsets[i]
		}
	}
	return -1
}

// check type-checks the package in a folder for a processor.
func check(t *testing.T, dir, arch string) checked {
	t.Helper()
	context := build.Default
	context.GOOS, context.GOARCH, context.CgoEnabled = "linux", arch, true
	return typeCheck(arch, parse(t, dir, &context))
}

// checkText type-checks a package that is given as text.
func checkText(t *testing.T, text string) checked {
	t.Helper()
	file, err := parser.ParseFile(fileSet, "text.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	return typeCheck("amd64", []*ast.File{file})
}

// typeCheck ignores errors, because imports are not followed and cgo's names are unknown.
func typeCheck(arch string, files []*ast.File) checked {
	sizes := types.SizesFor("gc", arch)
	config := types.Config{
		FakeImportC: true, Sizes: sizes, Error: func(error) {}, Importer: noImports{},
	}
	p, _ := config.Check("p", fileSet, files, nil)
	return checked{p, sizes}
}

type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) {
	return nil, fmt.Errorf("not followed: %s", path)
}

// parse parses the files of a folder that belong to a build, without tests.
func parse(t *testing.T, dir string, context *build.Context) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		match, err := context.MatchFile(dir, filepath.Base(name))
		if err != nil {
			t.Fatal(err)
		}
		if !match || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fileSet, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// cFunctions returns the C functions that a cgo package calls.
func cFunctions(t *testing.T, dir string) map[string]bool {
	t.Helper()
	context := build.Default
	context.GOOS, context.CgoEnabled = "linux", true
	known := map[string]bool{}
	for _, file := range parse(t, dir, &context) {
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "C" {
					known[sel.Sel.Name] = true
				}
			}
			return true
		})
	}
	return known
}

// compareConstants returns what differs between our constants and theirs. names maps one to the
// other.
func compareConstants(ours, theirs checked, names map[string]string) (problems []string) {
	for our, their := range names {
		o, _ := ours.Scope().Lookup(our).(*types.Const)
		h, _ := theirs.Scope().Lookup(their).(*types.Const)
		switch {
		case o == nil || h == nil:
			problems = append(problems, fmt.Sprintf("constant %s or %s is missing", our, their))
		case o.Val().Kind() != h.Val().Kind() || !constant.Compare(o.Val(), token.EQL, h.Val()):
			problems = append(problems,
				fmt.Sprintf("%s is %s, but %s is %s", our, o.Val(), their, h.Val()))
		}
	}
	return problems
}

// compareStructs returns what differs between a struct of ours and one of theirs. An embedded
// struct of ours counts as one field, which has to begin where its counterpart begins.
func compareStructs(ours, theirs checked, name string, pair structPair) (problems []string) {
	ourSize, ourFields, ourOffsets := ours.layout(name)
	theirSize, theirFields, theirOffsets := theirs.layout(pair.theirs)
	report := func(format string, args ...any) {
		problems = append(problems, fmt.Sprintf(format, args...))
	}
	if ourSize != theirSize || ourSize == 0 {
		report("%s has %d bytes, %s %d", name, ourSize, pair.theirs, theirSize)
	}
	if len(ourFields) != len(pair.fields) {
		report("%s has %d fields, %d are compared", name, len(ourFields), len(pair.fields))
	}
	for i, field := range ourFields {
		j := slices.IndexFunc(theirFields, func(f *types.Var) bool {
			return f.Name() == pair.fields[field.Name()]
		})
		if j < 0 {
			report("%s.%s has no counterpart", name, field.Name())
			continue
		}
		ourEnd := ourOffsets[i] + ours.sizes.Sizeof(field.Type())
		theirEnd := theirOffsets[j] + theirs.sizes.Sizeof(theirFields[j].Type())
		if ourOffsets[i] != theirOffsets[j] || (ourEnd != theirEnd && !field.Embedded()) {
			report("%s.%s goes from %d to %d, %s.%s from %d to %d",
				name, field.Name(), ourOffsets[i], ourEnd,
				pair.theirs, theirFields[j].Name(), theirOffsets[j], theirEnd)
		}
	}
	return problems
}

// unlisted returns the constants and structs that are in none of the tables.
func unlisted(ours checked) (problems []string) {
	goOnly := []string{
		"Library", "Device", "MemoryInfo", "PCIInfo", "Process", "RemappedRows", "SpareRows",
		"FabricInfo",
		"Attributes", "Event", "EventSet", "linkMap", "openError",
		"runningCall", "runningCalls",
	}
	for _, name := range ours.Scope().Names() {
		switch object := ours.Scope().Lookup(name).(type) {
		case *types.Const:
			isSymbol := strings.HasSuffix(object.Type().String(), ".symbol")
			if constants[name] == "" && !slices.Contains(ownConstants, name) && !isSymbol {
				problems = append(problems, "constant "+name+" is not compared")
			}
		case *types.TypeName:
			_, isStruct := object.Type().Underlying().(*types.Struct)
			if _, listed := structs[name]; isStruct && !listed && !slices.Contains(goOnly, name) {
				problems = append(problems, "struct "+name+" is not compared")
			}
		}
	}
	return problems
}
