//go:build linux

package forkserver

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

//go:embed template.py
var program []byte

// hook is the name under which Python imports the program before it runs a script.
const hook = "sitecustomize.py"

// Config describes a template process.
type Config struct {
	// Argv is the command of the workers in the form of launcher.Command.Resolve:
	// [python, "-u", ("-m",) script, zip application, folder or module, arguments…].
	Argv []string
	// Environ is the environment of the template process. It should have the variables that all
	// workers share, because Python and some libraries read variables only once, when they are
	// started or imported (PYTHON…, LC_…, OMP_NUM_THREADS).
	Environ []string
	// Folder must exist. Start writes the template process's program to it, and Python may write
	// a compiled version. No other template process may use it.
	Folder string
	// Preload are the modules to import, in this order.
	Preload []string
	// Stdout and Stderr belong to the template process: modules may print while they are
	// imported. nil means /dev/null.
	Stdout, Stderr *os.File
	// Start starts the process. It should put the process into a process group of its own, and
	// have it killed when this process ends. nil means (*exec.Cmd).Start.
	Start func(*exec.Cmd) error
	// Ended is called when the process has been waited for, unless it is nil.
	Ended func(*exec.Cmd)
}

// Check returns an error if a command is not known to be a Python program with the arguments that
// [Config] describes. Only such a program can be a template process.
func Check(argv []string) error {
	if len(argv) >= 3 && argv[1] == "-u" && (argv[2] == "-m" && len(argv) >= 4 ||
		HasPythonName(argv[2]) || IsPythonApp(argv[2])) {
		return nil
	}
	name := ""
	if len(argv) > 0 {
		name = argv[0]
	}
	return fmt.Errorf("cannot start a template process for %q, "+
		"which is not known to be a Python program: name the script (gpulaunch run script.py) "+
		"or module (-m), or use --start-method=exec", name)
}

// Start starts a template process. It does not wait for the imports.
func Start(cfg Config) (*Template, error) {
	if err := Check(cfg.Argv); err != nil {
		return nil, err
	}
	if strings.Contains(cfg.Folder, ":") {
		// Python would not find the hook, and the template process would run the script.
		return nil, fmt.Errorf("cannot start the template process: its folder %q has a colon "+
			"in its name, which PYTHONPATH cannot express: choose another TMPDIR", cfg.Folder)
	}
	file := filepath.Join(cfg.Folder, hook)
	if err := os.WriteFile(file, program, 0o600); err != nil {
		return nil, fmt.Errorf("cannot write the program of the template process: %w", err)
	}
	link, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	files, err := withInherited(theirs)
	if err != nil {
		link.Close()
		theirs.Close()
		return nil, err
	}
	defer closeAll(files)
	cmd := cfg.command(file, files)
	start := cfg.Start
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := start(cmd); err != nil {
		link.Close()
		return nil, fmt.Errorf("cannot start the template process %q: %w",
			cfg.Argv[0], process.WithResourceHint(err))
	}
	t := &Template{
		cmd: cmd, link: link,
		ready: make(chan struct{}), dead: make(chan struct{}), closed: make(chan struct{}),
		facts: Facts{PID: cmd.Process.Pid, Modules: slices.Clone(cfg.Preload)},
	}
	go t.awaitExit(cfg.Ended)
	go t.awaitImports(cfg.Preload)
	return t, nil
}

// firstExtra is the number of the first descriptor in exec.Cmd.ExtraFiles.
const firstExtra = 3

// withInherited returns the files of a template process from firstExtra on. The last of them is the
// link. Those in front of it are what this process passes on to all that it starts, because a
// worker may have been told the number of such a descriptor.
func withInherited(link *os.File) (files []*os.File, err error) {
	for fd := uintptr(firstExtra); ; fd++ {
		flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return append(files, link), nil
		}
		copied, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, firstExtra)
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("cannot pass descriptor %d on to the template process: %w", fd,
				process.WithResourceHint(err))
		}
		files = append(files, os.NewFile(uintptr(copied), "inherited"))
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// linkVariable tells the template process the number of its link.
const linkVariable = "GPULAUNCH_TEMPLATE_LINK"

// command returns the command of the template process: the workers' command, with the program in
// front of the script or module. The last of the files is the link.
func (cfg Config) command(program string, files []*os.File) *exec.Cmd {
	link := firstExtra + len(files) - 1
	cmd := &exec.Cmd{
		Path: cfg.Argv[0], Args: slices.Insert(slices.Clone(cfg.Argv), 2, program),
		Env: append(templateEnvironment(cfg.Environ),
			fmt.Sprintf("%s=%d", linkVariable, link)),
		ExtraFiles: files,
	}
	if cfg.Stdout != nil { // an interface that holds a nil *os.File is not nil
		cmd.Stdout = cfg.Stdout
	}
	if cfg.Stderr != nil {
		cmd.Stderr = cfg.Stderr
	}
	return cmd
}

// templateEnvironment returns the environment without the variables by which an OpenMP library
// binds its threads to CPUs. The library lists the CPUs when it is loaded, so it would bind the
// threads of every worker to CPUs of the template process. It also removes entries without a
// name, because a worker could not remove them from its environment (unsetenv(3)).
func templateEnvironment(environ []string) []string {
	binding := []string{"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"}
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return name == "" || slices.Contains(binding, name)
	})
}
