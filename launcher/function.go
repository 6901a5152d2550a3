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

// functions are the registered functions by name: in a worker, the name is all
// that is left of the function.
var functions = map[string]func(index int, argument string) error{}

// Function is a Go function that can be run in worker processes.
type Function[A any] struct{ name string }

// Register gives a function a name under which worker processes find it. The
// program that starts workers and the workers are the same program, so a
// package-level variable is the place for it:
//
//	var train = launcher.Register("train", func(index int, o Options) error { … })
//
// The first argument is the worker's local rank, the second what Start was given;
// it travels by encoding/gob, which leaves out unexported fields and those that are
// functions or channels. Register panics when the name is empty or taken, and for an
// argument that cannot travel: a function, a channel, an interface, or a struct
// without exported fields (an empty struct stands for no argument).
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
			return &returned{err, where(f)}
		}
		return nil
	}
	return &Function[A]{name: name}
}

// returned is an error of a function. Printed with %+v it says where it came
// from: an error in Go knows no stack, unless it carries one, which is then shown.
type returned struct {
	error
	where string
}

func (r *returned) Unwrap() error { return r.error }

// Format makes %+v the text of a traceback.
func (r *returned) Format(s fmt.State, verb rune) {
	if verb == 'v' && s.Flag('+') {
		fmt.Fprintf(s, "%+v\nreturned by %s", r.error, r.where)
		return
	}
	fmt.Fprint(s, r.Error())
}

// where names a function and its place: "main.train (/src/main.go:12)".
func where(f any) string {
	pc := reflect.ValueOf(f).Pointer()
	file, line := runtime.FuncForPC(pc).FileLine(pc)
	return fmt.Sprintf("%s (%s:%d)", runtime.FuncForPC(pc).Name(), file, line)
}

// Init runs the function that this process was started for, if it is a worker,
// and then ends the process. Call it first in main, and in TestMain of tests that
// start functions; elsewhere it does nothing.
func Init() {
	name, ok := os.LookupEnv(functionVariable)
	if !ok {
		return
	}
	path := os.Getenv(argumentVariable)
	// What the function starts is no worker.
	os.Unsetenv(functionVariable)
	os.Unsetenv(argumentVariable)
	// Started from /proc/self/exe, it would be called exe in ps and top.
	_ = os.WriteFile("/proc/self/comm", []byte(name), 0)
	workerside.Run(func(i workerside.Info) error {
		f := functions[name]
		if f == nil {
			return fmt.Errorf("no function is registered as %q: register it in a package-level variable", name)
		}
		return f(i.LocalRank, path)
	})
	os.Exit(0)
}

// Start runs the function once in each worker process of a plan, see the
// function Start. A worker whose function returns an error or panics ends with
// code 1 and a RaisedError that has the stack. cfg.Argv is not used.
func (f *Function[A]) Start(ctx context.Context, p plan.Plan, cfg Config, arg A) (*Attempt, error) {
	if cfg.StartMethod == StartForkserver {
		return nil, errors.New("the start method forkserver is for Python workers: use exec for Go functions")
	}
	path, err := writeArgument(arg)
	if err != nil {
		return nil, fmt.Errorf("the argument of function %q cannot be passed on: %w", f.name, err)
	}
	if cfg.Environ == nil {
		cfg.Environ = os.Environ()
	}
	cfg.Environ = plan.MergeEnviron(cfg.Environ, map[string]string{functionVariable: f.name, argumentVariable: path})
	cfg.Argv = []string{"/proc/self/exe"}
	a, err := start(ctx, p, cfg, func() { os.Remove(path) })
	if err != nil {
		os.Remove(path)
	}
	return a, err
}

// packet is how an argument travels: a field may be nil, a bare value not.
type packet[A any] struct{ Argument A }

// checkArgument finds out now what would otherwise fail at each start.
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

// encode makes an error of gob's panics, which some types cause.
func encode(w io.Writer, value any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("encoding/gob panics: %v", r)
		}
	}()
	return gob.NewEncoder(w).Encode(value)
}

// writeArgument writes to a private file that Start's workers read.
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
		return arg, fmt.Errorf("the function's argument cannot be read: %w", err)
	}
	defer f.Close()
	var p packet[A]
	if err := gob.NewDecoder(f).Decode(&p); err != nil {
		return arg, fmt.Errorf("the function's argument cannot be read: %w", err)
	}
	return p.Argument, nil
}
