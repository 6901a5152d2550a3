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

// The environment variables that make a process of this program a worker that runs a function: the
// function's name, and the file that holds its argument.
const (
	functionVariable = "GPULAUNCH_FUNCTION"
	argumentVariable = "GPULAUNCH_ARGUMENT"
)

// functions holds the registered functions by name. The name is all that a worker receives.
var functions = map[string]func(index int, argument string) error{}

// Function is a Go function that can be run in worker processes.
type Function[A any] struct{ name string }

// Register registers a function under a name, by which worker processes find it. The workers run
// the same program as the process that starts them, so Register is best called for a package-level
// variable:
//
//	var train = launcher.Register("train", func(index int, o Options) error { … })
//
// The function's first argument is the worker's local rank, and the second is the argument of
// Start. It is passed on with encoding/gob, which leaves out unexported fields and fields that are
// functions or channels. Register panics if the name is empty or taken, or if the argument's type
// cannot be passed on: a function, a channel, an interface, or a struct without exported fields. An
// empty struct is allowed and means that there is no argument.
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

// functionError is an error that a function has returned. With %+v it also prints which function
// returned it. Go errors have no stack unless they carry one, and %+v prints that as well.
type functionError struct {
	error
	where string
}

func (e *functionError) Unwrap() error { return e.error }

// Format prints the text of a traceback for %+v, and the message otherwise.
func (e *functionError) Format(s fmt.State, verb rune) {
	if verb == 'v' && s.Flag('+') {
		fmt.Fprintf(s, "%+v\nreturned by %s", e.error, e.where)
		return
	}
	fmt.Fprint(s, e.Error())
}

// describeFunction returns a function's name and place: "main.train (/src/main.go:12)".
func describeFunction(f any) string {
	pc := reflect.ValueOf(f).Pointer()
	file, line := runtime.FuncForPC(pc).FileLine(pc)
	return fmt.Sprintf("%s (%s:%d)", runtime.FuncForPC(pc).Name(), file, line)
}

// Init checks whether this process was started as a worker for a function. If so, it runs the
// function and ends the process. Otherwise it does nothing. Call it first in main, and in TestMain
// of tests that start functions.
func Init() {
	name, ok := os.LookupEnv(functionVariable)
	if !ok {
		return
	}
	path := os.Getenv(argumentVariable)
	// Processes that the function starts are not workers.
	os.Unsetenv(functionVariable)
	os.Unsetenv(argumentVariable)
	// Because it was started from /proc/self/exe, ps and top would call the process exe.
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

// Start runs the function once in each worker process of a plan, as the function Start runs a
// program. A worker whose function returns an error or panics ends with code 1 and a RaisedError
// that has the stack. cfg.Argv is not used.
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

// packet wraps an argument for gob, which accepts nil in a field but not as a value.
type packet[A any] struct{ Argument A }

// checkArgument returns the error with which each Start would fail for an argument of type A.
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

// encode writes a value with gob. It returns an error for types for which gob panics.
func encode(w io.Writer, value any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("encoding/gob panics: %v", r)
		}
	}()
	return gob.NewEncoder(w).Encode(value)
}

// writeArgument writes an argument to a private file, which the workers read, and returns its path.
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

// readArgument reads an argument from the file that writeArgument has written.
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
