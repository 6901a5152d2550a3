package launcher

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"strings"
)

// interpreterError says that a program exists, and that what has to run it does not or cannot.
type interpreterError struct {
	// script is the program or, if its interpreter is a script as well, that one.
	script string
	// line is the script's first line, or "" for a program whose dynamic loader is missing.
	line string
	// name is the interpreter or loader, and err is what is wrong with it.
	name string
	err  error
}

func (e *interpreterError) Error() string {
	reason := "does not exist"
	switch {
	case errors.Is(e.err, exec.ErrNotFound):
		reason = "is not in PATH"
	case errors.Is(e.err, fs.ErrPermission):
		reason = "is not executable"
	case !errors.Is(e.err, fs.ErrNotExist):
		reason = "cannot be executed: " + e.err.Error()
	}
	if e.line == "" {
		return fmt.Sprintf("its dynamic loader %q %s", e.name, reason)
	}
	return fmt.Sprintf("its interpreter %q %s", e.name, reason)
}

func (e *interpreterError) Unwrap() error { return e.err }

// hint returns what to do about the interpreter.
func (e *interpreterError) hint() string {
	switch {
	case e.line == "":
		return "install the C library that it was built for, or build it for this system"
	case strings.HasSuffix(e.line, "\r"):
		return fmt.Sprintf("the first line of %q ends in a carriage return, which counts as part "+
			"of it: convert the file with sed -i 's/\\r$//'", e.script)
	}
	if words := strings.Fields(e.name); len(words) > 1 {
		return fmt.Sprintf("the kernel passes all of that to env as one word: write %q as the "+
			"first line of %q", "#!/usr/bin/env -S "+strings.Join(words, " "), e.script)
	}
	return fmt.Sprintf("install it, or correct the first line of %q: %q", e.script, e.line)
}

// maxScripts is how many scripts the kernel runs by way of each other
// (exec_binprm in fs/exec.c).
const maxScripts = 5

// checkInterpreter returns an error if a program is a script whose interpreter cannot be executed.
// It knows env(1), which searches PATH for another one. A program that cannot be read is not
// checked: the kernel can read it.
func checkInterpreter(program string) *interpreterError {
	for range maxScripts {
		line, ok := shebang(program)
		name, argument := splitShebang(line)
		if !ok || name == "" {
			return nil
		}
		e := &interpreterError{script: program, line: line, name: name}
		file := name
		if !strings.Contains(file, "/") {
			file = "./" + file // the kernel does not search PATH
		}
		if _, e.err = executable(file); e.err != nil {
			return e
		}
		program = file
		if path.Base(name) == "env" && argument != "" && !strings.HasPrefix(argument, "-") &&
			!strings.Contains(argument, "=") {
			e.name = argument
			if program, e.err = lookPath(argument); e.err != nil {
				return e
			}
		}
	}
	return nil
}

// shebang returns the first line of a script, without the line feed. It is one that begins with
// "#!" and ends within the bytes that the kernel reads (BINPRM_BUF_SIZE).
func shebang(program string) (line string, ok bool) {
	const limit = 256
	head := headOf(program, limit)
	line, _, complete := strings.Cut(head, "\n")
	return line, strings.HasPrefix(line, "#!") && (complete || len(head) < limit)
}

// headOf returns the first bytes of a regular file, at most n. It returns "" for a file that cannot
// be read, and for a pipe, whose data would then be missing elsewhere.
func headOf(name string, n int) string {
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	head := make([]byte, n)
	n, _ = io.ReadFull(f, head)
	return string(head[:n])
}

// splitShebang returns the interpreter and its argument, of which there is at most one: it may
// contain blanks (load_script in fs/binfmt_script.c).
func splitShebang(line string) (name, argument string) {
	const blanks = " \t"
	text := strings.Trim(strings.TrimPrefix(line, "#!"), blanks)
	end := strings.IndexAny(text, blanks)
	if end < 0 {
		return text, ""
	}
	return text[:end], strings.TrimLeft(text[end:], blanks)
}

// checkLoader returns an error if a program's dynamic loader is missing (PT_INTERP in elf(5)). The
// kernel's error for that is ENOENT, as if there were no program.
func checkLoader(program string) *interpreterError {
	f, err := elf.Open(program)
	if err != nil {
		return nil
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > 4096 {
			continue
		}
		name := make([]byte, p.Filesz)
		if _, err := p.ReadAt(name, 0); err != nil {
			return nil
		}
		loader := strings.TrimRight(string(name), "\x00")
		if _, err := executable(loader); err != nil {
			return &interpreterError{script: program, name: loader, err: err}
		}
	}
	return nil
}
