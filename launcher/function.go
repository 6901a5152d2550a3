package launcher

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"strings"

	"github.com/gpulaunch/gpulaunch/launcher/plan"
	workerside "github.com/gpulaunch/gpulaunch/launcher/worker"
)

// The variables that make a process of this program a worker that runs a
// function: its name, and the file that holds its argument.
const (
	functionVariable = "GPULAUNCH_FUNCTION"
	argumentVariable = "GPULAUNCH_ARGUMENT"
)

// functions are the registered functions by name, which is all that a worker is told of its
// function.
var functions = map[string]func(index int, argument string) error{}

// Function is a Go function that can be run in worker processes.
type Function[A any] struct{ name string }

// Register gives a function a name under which worker processes find it. The program that
// starts workers and the workers are the same program, so a package-level variable is the
// place for it:
//
//	var train = launcher.Register("train", func(index int, o Options) error { … })
//
// The first argument is the worker's local rank, and the second is what Start was given. It
// travels by encoding/gob, which leaves out unexported fields and those that are functions
// or channels. Register panics if the name is empty or taken, and for an argument that
// cannot travel: a function, a channel, an interface, or a struct without exported fields
// (an empty struct stands for no argument).
func Register[A any](name string, f func(index int, arg A) error) *Function[A] {
	switch {
	case name == "" || strings.ContainsRune(name, 0) || f == nil:
		panic("launcher: Register needs a function and a name without NUL")
	case functions[name] != nil:
		panic(fmt.Sprintf("launcher: a function is already registered as %q", name))
	}
	if err := checkArgument[A](); err != nil {
		panic(fmt.Sprintf("launcher: function %q: %v", name, err))
	}
	functions[name] = func(index int, path string) error {
		arg, err := readArgument[A](path)
		if err != nil {
			return err
		}
		if err := f(index, arg); err != nil {
			return &functionError{err, describeFunction(f)}
		}
		return nil
	}
	return &Function[A]{name: name}
}

// functionError is an error that a function has returned. Printed with %+v it says where it
// came from. An error in Go has no stack unless it carries one, which is then shown.
type functionError struct {
	error
	where string
}

func (e *functionError) Unwrap() error { return e.error }

// Format makes %+v the text of a traceback.
func (e *functionError) Format(s fmt.State, verb rune) {
	if verb == 'v' && s.Flag('+') {
		fmt.Fprintf(s, "%+v\nreturned by %s", e.error, e.where)
		return
	}
	fmt.Fprint(s, e.Error())
}

// describeFunction names a function and its place: "main.train (/src/main.go:12)".
func describeFunction(f any) string {
	pc := reflect.ValueOf(f).Pointer()
	file, line := runtime.FuncForPC(pc).FileLine(pc)
	return fmt.Sprintf("%s (%s:%d)", runtime.FuncForPC(pc).Name(), file, line)
}

// Init runs the function that this process was started for, if it is a worker, and then
// ends the process. Otherwise it does nothing. Call it first in main, and in TestMain of
// tests that start functions.
func Init() {
	name, ok := os.LookupEnv(functionVariable)
	if !ok {
		return
	}
	path := os.Getenv(argumentVariable)
	// What the function starts is not a worker.
	os.Unsetenv(functionVariable)
	os.Unsetenv(argumentVariable)
	// Started from /proc/self/exe, it would be called exe in ps and top.
	_ = os.WriteFile("/proc/self/comm", []byte(name), 0)
	workerside.Run(func(i workerside.Info) error {
		f := functions[name]
		if f == nil {
			return fmt.Errorf("no function is registered as %q: register it in a package-level "+
				"variable", name)
		}
		return f(i.LocalRank, path)
	})
	os.Exit(0)
}

// Start runs the function once in each worker process of a plan, see the function Start. A
// worker whose function returns an error or panics ends with code 1 and a RaisedError that
// has the stack. cfg.Argv is not used.
func (f *Function[A]) Start(ctx context.Context, p plan.Plan, cfg Config, arg A) (*Attempt, error) {
	if cfg.StartMethod == StartForkserver {
		return nil,
			errors.New("the start method forkserver is for Python workers: use exec for Go " +
				"functions")
	}
	path, err := writeArgument(arg)
	if err != nil {
		return nil, fmt.Errorf("cannot pass on the argument of function %q: %w", f.name, err)
	}
	if cfg.Environ == nil {
		cfg.Environ = os.Environ()
	}
	cfg.Environ = plan.MergeEnviron(cfg.Environ, map[string]string{functionVariable: f.name,
		argumentVariable: path})
	cfg.Argv = []string{"/proc/self/exe"}
	a, err := start(ctx, p, cfg, func() { os.Remove(path) })
	if err != nil {
		os.Remove(path)
	}
	return a, err
}

// packet is the form in which an argument travels, because gob accepts a nil field but not
// a nil value.
type packet[A any] struct{ Argument A }

// checkArgument finds out at once what would otherwise fail at each start.
func checkArgument[A any]() error {
	t := reflect.TypeFor[A]()
	if t.Size() == 0 {
		return nil
	}
	inner := t
	for inner.Kind() == reflect.Pointer {
		inner = inner.Elem()
	}
	if inner.Kind() == reflect.Interface {
		return fmt.Errorf("its argument is the interface %s: use a concrete type", inner)
	}
	return encode(io.Discard, packet[A]{})
}

// encode writes a value by gob. For some types gob panics, which becomes an error here.
func encode(w io.Writer, value any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("encoding/gob panics: %v", r)
		}
	}()
	return gob.NewEncoder(w).Encode(value)
}

// writeArgument writes an argument to a private file that the workers read.
func writeArgument[A any](arg A) (path string, err error) {
	f, err := os.CreateTemp("", "gpulaunch-argument-")
	if err != nil {
		return "", err
	}
	defer f.Close()
	if reflect.TypeFor[A]().Size() > 0 {
		err = encode(f, packet[A]{arg})
	}
	if err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

func readArgument[A any](path string) (arg A, err error) {
	if reflect.TypeFor[A]().Size() == 0 {
		return arg, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return arg, fmt.Errorf("cannot read the function's argument: %w", err)
	}
	defer f.Close()
	var p packet[A]
	if err := gob.NewDecoder(f).Decode(&p); err != nil {
		return arg, fmt.Errorf("cannot read the function's argument: %w", err)
	}
	return p.Argument, nil
}
