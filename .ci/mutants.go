//go:build ignore

// Mutants changes the code of a package in one place at a time and runs the package's tests with
// each change. A change that no test notices stands for behaviour that is not tested, or changes
// nothing that matters.
//
//	go run .ci/mutants.go [-files PATTERN] [-test ARGUMENTS] PACKAGE
//
// All mutants are compiled into one test binary, which selects one by the variable
// GPULAUNCH_MUTANT. Each of them runs with all its processes in a PID namespace of its own, because
// some mutants kill whatever they find: it needs root and unshare(1).
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// variable is the environment variable with the number of the mutant.
const variable = "GPULAUNCH_MUTANT"

// chooser is the name of the function that reports whether a mutant is chosen.
const chooser = "mutantIs"

const chooserCode = `
var mutantChosen, _ = mutantStrconv.Atoi(mutantOS.Getenv("` + variable + `"))

func ` + chooser + `(n int) bool { return mutantChosen == n }
`

// mutator rewrites files and remembers what each mutant changes.
type mutator struct {
	files *token.FileSet
	what  []string // "FILE:LINE: what is changed"
}

// next returns the number of a new mutant.
func (m *mutator) next(at token.Pos, format string, args ...any) int {
	p := m.files.Position(at)
	m.what = append(m.what, fmt.Sprintf("%s:%d: %s", filepath.Base(p.Filename), p.Line,
		fmt.Sprintf(format, args...)))
	return len(m.what)
}

func text(n ast.Node) string {
	var b bytes.Buffer
	_ = format.Node(&b, token.NewFileSet(), n)
	line, _, more := strings.Cut(b.String(), "\n")
	if more {
		line += " …"
	}
	return line
}

func call(n int) ast.Expr {
	return &ast.CallExpr{Fun: ast.NewIdent(chooser),
		Args: []ast.Expr{&ast.BasicLit{Kind: token.INT, Value: strconv.Itoa(n)}}}
}

// either returns an expression that is changed for mutant n and e for all others. Only one of the
// two is evaluated.
func either(n int, changed, e ast.Expr) ast.Expr {
	return &ast.CallExpr{Fun: &ast.FuncLit{
		Type: &ast.FuncType{Params: &ast.FieldList{}, Results: &ast.FieldList{
			List: []*ast.Field{{Type: ast.NewIdent("bool")}}}},
		Body: &ast.BlockStmt{List: []ast.Stmt{
			&ast.IfStmt{Cond: call(n), Body: &ast.BlockStmt{List: []ast.Stmt{
				&ast.ReturnStmt{Results: []ast.Expr{changed}}}}},
			&ast.ReturnStmt{Results: []ast.Expr{e}}}}}}
}

// neighbours are the comparisons that differ in one case.
var neighbours = map[token.Token]token.Token{
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
}

// condition returns a condition with mutants for it and for its parts.
func (m *mutator) condition(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return &ast.ParenExpr{X: m.condition(e.X)}
	case *ast.UnaryExpr:
		if e.Op == token.NOT {
			return &ast.UnaryExpr{Op: token.NOT, X: m.condition(e.X)}
		}
	case *ast.BinaryExpr:
		if e.Op == token.LAND || e.Op == token.LOR {
			neutral := ast.NewIdent(strconv.FormatBool(e.Op == token.LAND))
			left := m.next(e.Pos(), "drop %s from %s", text(e.X), text(e))
			right := m.next(e.Pos(), "drop %s from %s", text(e.Y), text(e))
			x, y := m.condition(e.X), m.condition(e.Y)
			return &ast.BinaryExpr{Op: e.Op, X: either(left, neutral, x),
				Y: either(right, neutral, y)}
		}
		if op, ok := neighbours[e.Op]; ok {
			n := m.next(e.Pos(), "%s with %s", text(e), op)
			negated := m.next(e.Pos(), "not %s", text(e))
			return either(n, &ast.BinaryExpr{Op: op, X: e.X, Y: e.Y},
				either(negated, &ast.UnaryExpr{Op: token.NOT, X: &ast.ParenExpr{X: e}}, e))
		}
	}
	n := m.next(e.Pos(), "not %s", text(e))
	return either(n, &ast.UnaryExpr{Op: token.NOT, X: &ast.ParenExpr{X: e}}, e)
}

// statement returns a statement that a mutant leaves out. Statements that declare something, and
// those that other statements need to compile, stay.
func (m *mutator) statement(s ast.Stmt) ast.Stmt {
	switch s := s.(type) {
	case *ast.ExprStmt, *ast.IncDecStmt, *ast.SendStmt, *ast.GoStmt, *ast.DeferStmt:
	case *ast.AssignStmt:
		if s.Tok == token.DEFINE {
			return s
		}
	case *ast.BranchStmt:
		if s.Tok == token.GOTO || s.Tok == token.FALLTHROUGH {
			return s
		}
	default:
		return s
	}
	n := m.next(s.Pos(), "leave out %s", text(s))
	return &ast.IfStmt{Cond: &ast.UnaryExpr{Op: token.NOT, X: call(n)},
		Body: &ast.BlockStmt{List: []ast.Stmt{s}}}
}

// visit adds mutants to a node of the original code.
func (m *mutator) visit(n ast.Node) {
	switch n := n.(type) {
	case *ast.BlockStmt:
		m.list(n.List)
	case *ast.CaseClause:
		m.list(n.Body)
	case *ast.CommClause:
		m.list(n.Body)
	case *ast.IfStmt:
		n.Cond = m.condition(n.Cond)
	case *ast.ReturnStmt:
		for i, e := range n.Results {
			if b, ok := e.(*ast.BinaryExpr); ok && isBool(b.Op) {
				n.Results[i] = m.condition(e)
			}
		}
	}
}

func isBool(op token.Token) bool {
	return op == token.LAND || op == token.LOR || op.Precedence() == token.EQL.Precedence()
}

func (m *mutator) list(body []ast.Stmt) {
	for i, s := range body {
		body[i] = m.statement(s)
	}
}

// mutateFile writes a file with its mutants to out, and the chooser's code if first is true.
func (m *mutator) mutateFile(path, out string, first bool) error {
	file, err := parser.ParseFile(m.files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	// What the mutants add is not to be mutated itself.
	var original []ast.Node
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
			ast.Inspect(f.Body, func(n ast.Node) bool {
				original = append(original, n)
				return true
			})
		}
	}
	for _, n := range original {
		m.visit(n)
	}
	file.Comments = nil
	var b bytes.Buffer
	if err := format.Node(&b, m.files, file); err != nil {
		return err
	}
	code := b.String()
	if first {
		head := "import (\n\tmutantOS \"os\"\n\tmutantStrconv \"strconv\"\n)\n"
		clause := "package " + file.Name.Name
		code = strings.Replace(code, clause, clause+"\n"+head, 1) + chooserCode
	}
	return os.WriteFile(out, []byte(code), 0o600)
}

// build compiles the package's tests with all mutants into a binary in dir.
func (m *mutator) build(pkg, dir string, pattern *regexp.Regexp) (binary, where string, err error) {
	out, err := exec.Command("go", "list", "-json", pkg).Output()
	if err != nil {
		return "", "", err
	}
	var info struct {
		Dir     string
		GoFiles []string
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return "", "", err
	}
	replace := map[string]string{}
	for _, name := range info.GoFiles {
		if !pattern.MatchString(name) {
			continue
		}
		path, out := filepath.Join(info.Dir, name), filepath.Join(dir, name)
		if err := m.mutateFile(path, out, len(replace) == 0); err != nil {
			return "", "", err
		}
		replace[path] = out
	}
	overlay, _ := json.Marshal(map[string]any{"Replace": replace})
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", "", err
	}
	binary = filepath.Join(dir, "tests")
	c := exec.Command("go", "test", "-c", "-vet=off", "-overlay", list, "-o", binary, pkg)
	if text, err := c.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("%w\n%s", err, text)
	}
	return binary, info.Dir, nil
}

// run runs the tests with a mutant, and with none if n is 0.
func run(binary, dir string, n int, limit time.Duration, args []string) error {
	// The shell is the first process of the namespace. Orphans become its children, not the tests'.
	argv := append([]string{"--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
		`"$@"; exit $?`, "sh", binary, "-test.failfast", "-test.timeout", limit.String()}, args...)
	c := exec.Command("unshare", argv...)
	c.Dir, c.Env = dir, append(os.Environ(), variable+"="+strconv.Itoa(n))
	if err := c.Start(); err != nil {
		return err
	}
	// A mutant may stop its own process, or block the signals of the test's own time limit.
	timer := time.AfterFunc(limit+2*time.Second, func() { _ = c.Process.Kill() })
	defer timer.Stop()
	return c.Wait()
}

func main() {
	files := flag.String("files", ".", "mutate only files whose `name` matches")
	only := flag.Int("only", 0, "run this mutant alone")
	tests := flag.String("test", "", "further `arguments` for the test binary")
	flag.Parse()
	stopOnSignals()
	if err := mutate(flag.Arg(0), *files, *only, strings.Fields(*tests)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// stopOnSignals ends this process at a signal that asks for that. Signals that are caught have
// their default effect in a new program, also if this one was started with them ignored, as a shell
// does in the background: the tests' workers would not end by SIGINT.
func stopOnSignals() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
	go func() { <-signals; os.Exit(1) }()
}

func mutate(pkg, pattern string, only int, args []string) error {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := &mutator{files: token.NewFileSet()}
	binary, where, err := m.build(pkg, dir, regexp.MustCompile(pattern))
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := run(binary, where, 0, 10*time.Minute, args); err != nil {
		return errors.New("the tests fail without a mutant")
	}
	limit := 3*time.Since(begin) + 5*time.Second
	killed := 0
	for i, what := range m.what {
		if only != 0 && i+1 != only {
			continue
		}
		if run(binary, where, i+1, limit, args) != nil {
			killed++
			continue
		}
		fmt.Printf("%d %s\n", i+1, what)
	}
	fmt.Printf("%s: %d of %d mutants killed (%.1f %%)\n", pkg, killed, len(m.what),
		100*float64(killed)/float64(len(m.what)))
	return nil
}
