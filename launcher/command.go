package launcher

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/forkserver"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Command is what the user wants a worker to run.
type Command struct {
	// Args holds the program, script or module to run, and its arguments.
	Args []string
	// Module runs Args[0] as a Python module (python3 -m).
	Module bool
	// NoPython runs Args[0] as it is, even if it is a Python script or a zip application.
	NoPython bool
	// Python is the interpreter. "" means python3.
	Python string
}

// StartError says why a program could not be started.
type StartError struct {
	// Program is the program that should have been started.
	Program string
	// Err is the cause: fs.ErrNotExist, fs.ErrPermission, or the kernel's error.
	Err error
	// Hint says what the user can do, or is "".
	Hint string
}

func (e *StartError) Error() string {
	text := fmt.Sprintf("cannot start %q: %s", e.Program, startReason(e.Err))
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

func (e *StartError) Unwrap() error { return e.Err }

// ExitCode returns the launcher's exit code. As in coreutils (env, timeout, nohup), it is 127 for a
// program that does not exist, 126 for one that exists and cannot be executed, and 125 if the
// launcher itself could not do its work.
func (e *StartError) ExitCode() int {
	switch {
	case errors.Is(e.Err, fs.ErrNotExist), errors.Is(e.Err, exec.ErrNotFound):
		return 127
	case lacksResources(e.Err):
		return 125
	}
	return 126
}

// lacksResources reports whether the machine is at its limits, in which case the program is not at
// fault: fork(2) and pipe(2) fail with these errors, while execve(2) fails with others.
func lacksResources(err error) bool {
	for _, errno := range []error{unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// errUnreadable is the error for a script that may not be read. Python needs no execute bit.
var errUnreadable = errors.New("you may not read it")

// startReason describes an error from starting a program, without a hint.
func startReason(err error) string {
	var interpreter *interpreterError
	switch {
	case errors.As(err, &interpreter):
		return interpreter.Error()
	case errors.Is(err, exec.ErrNotFound):
		return "no such program in PATH"
	case errors.Is(err, fs.ErrNotExist):
		return "no such file"
	case errors.Is(err, fs.ErrPermission):
		return "it is not executable"
	case errors.Is(err, unix.EISDIR):
		return "it is a folder"
	case errors.Is(err, unix.ENOEXEC):
		return "it is neither a program for this machine nor a script with a #! line"
	}
	return err.Error()
}

// Resolve finds the program and returns the argument vector, whose first entry is the program's
// path. Python runs scripts (.py), zip applications and folders with a __main__ module. The error
// is a *StartError if the program cannot be run, and another error if Args is empty.
func (c Command) Resolve() ([]string, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("Command.Args is empty: it is the program to run and its arguments")
	}
	name := c.Args[0]
	switch {
	case c.NoPython:
	case c.Module:
		return c.resolvePython("-m")
	case forkserver.HasPythonName(name):
		if err := readable(name); err != nil {
			return nil, err
		}
		return c.resolvePython()
	}
	path, err := lookPath(name)
	if (err != nil || isArchive(path)) && !c.NoPython && forkserver.IsPythonApp(name) {
		return c.resolvePython()
	}
	if err != nil {
		return nil, &StartError{Program: name, Err: err, Hint: hint(name)}
	}
	if e := checkInterpreter(path); e != nil {
		return nil, &StartError{Program: name, Err: e, Hint: e.hint()}
	}
	return append([]string{path}, c.Args[1:]...), nil
}

// resolvePython returns the argument vector of the interpreter with options and all arguments.
func (c Command) resolvePython(options ...string) ([]string, error) {
	python := c.Python
	if python == "" {
		python = "python3"
	}
	path, err := lookPath(python)
	if err != nil {
		return nil, &StartError{Program: python, Err: err,
			Hint: "install Python 3 or name an interpreter in PYTHON_EXEC"}
	}
	if e := checkInterpreter(path); e != nil {
		return nil, &StartError{Program: python, Err: e, Hint: e.hint()}
	}
	// -u means unbuffered output: what a worker prints last before it dies must not stay in a
	// buffer.
	argv := append([]string{path, "-u"}, options...)
	return append(argv, c.Args...), nil
}

// isArchive reports whether a file begins as a zip archive does, which the kernel cannot execute.
func isArchive(name string) bool { return headOf(name, 4) == "PK\x03\x04" }

// hint returns the likeliest remedy for a program that cannot be found or executed.
func hint(program string) string {
	info, err := os.Stat(program)
	switch {
	case err == nil && info.IsDir():
		return "name a program, or a folder with a __main__.py for Python"
	case err == nil && strings.Contains(program, "/"):
		return "make it executable with chmod +x"
	case err == nil:
		return fmt.Sprintf("there is one in this folder: ./%s", program)
	}
	return pathHint()
}

// readable returns an error for a script that Python could not read, so that the error is reported
// once instead of by each worker.
func readable(script string) error {
	f, err := os.Open(script)
	if err == nil {
		f.Close()
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return &StartError{Program: script, Err: errUnreadable,
			Hint: "chmod +r it, or run as its owner"}
	}
	return &StartError{Program: script, Err: err, Hint: "check the name and the folder you are in"}
}

// execError returns the error for a program that exists and could not be executed.
func execError(program string, err error) *StartError {
	if errors.Is(err, unix.ENOENT) {
		e := checkInterpreter(program) // something may have changed since Resolve
		if e == nil {
			e = checkLoader(program)
		}
		if e != nil {
			return &StartError{Program: program, Err: e, Hint: e.hint()}
		}
	}
	hint := process.ResourceHint(err)
	if errors.Is(err, unix.ENOEXEC) && strings.HasPrefix(headOf(program, 8), byteOrderMark+"#!") {
		hint = "its first line begins with a byte order mark: remove that with " +
			"sed -i '1s/^\\xef\\xbb\\xbf//'"
	}
	return &StartError{Program: program, Err: err, Hint: hint}
}

// byteOrderMark is what some editors put before a text in UTF-8. The kernel does not skip it.
const byteOrderMark = "\xef\xbb\xbf"
