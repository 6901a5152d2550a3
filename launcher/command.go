package launcher

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// Command is what the user wants a worker to run.
type Command struct {
	// Args holds the program, script or module to run, and its arguments.
	Args []string
	// Module runs Args[0] as a Python module (python3 -m).
	Module bool
	// NoPython runs Args[0] as it is, even if its name ends in .py.
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
	switch {
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
// path. The error is a *StartError if the program cannot be run, and another error if Args is
// empty.
func (c Command) Resolve() ([]string, error) {
	args := c.Args
	if len(args) == 0 {
		return nil, errors.New("Command.Args is empty: it is the program to run and its arguments")
	}
	script := !c.NoPython && !c.Module && strings.HasSuffix(args[0], ".py")
	if script {
		if err := readable(args[0]); err != nil {
			return nil, err
		}
	}
	if script || (c.Module && !c.NoPython) {
		python := c.Python
		if python == "" {
			python = "python3"
		}
		// -u means unbuffered output: what a worker prints last before it dies must not stay in a
		// buffer.
		prefix := []string{python, "-u"}
		if c.Module {
			prefix = append(prefix, "-m")
		}
		args = append(prefix, args...)
	}
	path, err := lookPath(args[0])
	if err != nil {
		return nil, &StartError{Program: args[0], Err: err, Hint: c.hint(args[0])}
	}
	return append([]string{path}, args[1:]...), nil
}

// hint returns the likeliest remedy for a program that cannot be started.
func (c Command) hint(program string) string {
	if program != c.Args[0] {
		return "install Python 3 or name an interpreter in PYTHON_EXEC"
	}
	if info, err := os.Stat(program); err == nil && !info.IsDir() {
		if strings.Contains(program, "/") {
			return "make it executable with chmod +x"
		}
		return fmt.Sprintf("there is one in this folder: ./%s", program)
	}
	return "check the name and the PATH"
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

// lookPath does what exec.LookPath does, with two differences: it returns fs.ErrPermission for a
// program that exists in PATH and cannot be executed, and it finds programs in the current folder
// only if PATH names that folder.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	if errors.Is(err, exec.ErrDot) {
		return path, nil // PATH has "." or an empty entry, so the user wants it
	}
	if !strings.Contains(name, "/") && errors.Is(err, exec.ErrNotFound) &&
		inPathButNotExecutable(name) {
		return "", fs.ErrPermission
	}
	if inner := errors.Unwrap(err); inner != nil {
		return "", inner
	}
	return "", err
}

// inPathButNotExecutable reports whether a folder of PATH has a regular file of that name. If one
// has, execvp(3) fails with EACCES.
func inPathButNotExecutable(name string) bool {
	for dir := range strings.SplitSeq(os.Getenv("PATH"), ":") {
		if dir == "" {
			dir = "."
		}
		if info, err := os.Stat(dir + "/" + name); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

// execHint returns the likeliest cause of, or remedy for, a failure to execute a program that
// exists.
func execHint(program string, err error) string {
	if _, e := os.Stat(program); errors.Is(err, unix.ENOENT) && e == nil {
		return "the file is there, so the interpreter of its first line is missing"
	}
	return process.ResourceHint(err)
}
