//go:build linux

package forkserver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// preloads maps modules that cannot be preloaded to the error without "cannot import NAME: ", and
// to a part of the traceback, which is "" if there must be none.
var preloads = map[string]struct{ reason, traceback string }{
	"nonesuch":        {"ModuleNotFoundError: No module named 'nonesuch'", "Error"},
	"imports_missing": {"ModuleNotFoundError: No module named 'nonesuch'", "import nonesuch.thing"},
	"json.nonesuch":   {"ModuleNotFoundError: No module named 'json.nonesuch'", "Error"},
	"broken":          {"ValueError: two lines", "in deep"},
	"exits":           {"SystemExit: 3", "sys.exit(3)"},
	"interrupted":     {"KeyboardInterrupt", "raise KeyboardInterrupt"},

	"exits_hard":   {"the template process exited with code 4", ""},
	"closes_link":  {"the template process exited with code 1", ""},
	"aborts":       {"the template process " + ended(unix.SIGABRT), ""},
	"kills_itself": {"the template process " + ended(unix.SIGKILL), ""},
	"garbles_link": {"the template process " + ended(unix.SIGKILL), ""},
}

func TestPreloadFails(t *testing.T) {
	for name, c := range preloads {
		t.Run(name, func(t *testing.T) {
			cfg := modules(t, "json", name, "prints")
			cfg.Stdout, cfg.Stderr = nil, nil
			template := begin(t, cfg)
			<-template.Ready()
			var p *PreloadError
			if err := template.Err(); !errors.As(err, &p) {
				t.Fatalf("the error is %v, want a PreloadError", err)
			}
			// Whether there is a core file depends on the system.
			text := strings.TrimSuffix(p.Text, " (core dumped)")
			if want := "cannot import " + name + ": " + c.reason; p.Module != name || text != want {
				t.Errorf("the error for module %q is %q, want %q", p.Module, p.Text, want)
			}
			if (p.Traceback == "") != (c.traceback == "") ||
				!strings.Contains(p.Traceback, c.traceback) || strings.Contains(p.Traceback, hook) {
				t.Errorf("want a traceback with %q and without %s, have\n%s",
					c.traceback, hook, p.Traceback)
			}
			<-template.Dead()
			if _, err := template.Fork(Spec{}, nil); err != template.Err() {
				t.Errorf("Fork returns the error %v, want %v", err, template.Err())
			}
		})
	}
}

// ended returns the words of process.ExitStatus for a process that a signal ended.
func ended(signal syscall.Signal) string {
	return process.ExitStatusOf(unix.WaitStatus(signal)).String()
}

func TestPreloadPrints(t *testing.T) {
	cfg := modules(t, "prints")
	out, w := pipe(t)
	cfg.Stdout, cfg.Stderr = w, w
	template := begin(t, cfg)
	w.Close()
	text := make(chan string)
	go func() { text <- readAll(out) }()
	<-template.Ready()
	if err := template.Err(); err != nil {
		t.Error(err)
	}
	template.Close()
	if n := len(<-text); n != 2*64*65536 {
		t.Errorf("the module printed %d bytes, want %d", n, 2*64*65536)
	}
}

func TestFacts(t *testing.T) {
	template := usable(t, modules(t, "json", "email.message"))
	f := template.Facts()
	if f.PID <= 0 || strings.Join(f.Modules, " ") != "json email.message" || f.Import <= 0 {
		t.Errorf("the facts are %+v, want a pid, json and email.message, and a duration", f)
	}
	if f.Shared < 1<<20 || f.Shared > 1<<30 {
		t.Errorf("%d bytes are shared, want between 1 MiB and 1 GiB", f.Shared)
	}
}

// TestImportedOnce wants the module next to the script to be found before others with its name, and
// not to be imported again in workers.
func TestImportedOnce(t *testing.T) {
	launchertest.BecomeSubreaper(t)
	count := filepath.Join(t.TempDir(), "count")
	cfg := modules(t, "counts")
	cfg.Argv = []string{cfg.Argv[0], "-u", "testdata/preload/counts.py"}
	cfg.Environ = environ(t, "PYTHONPATH=", "COUNT_FILE="+count)
	template := usable(t, cfg)
	p := run{python: cfg.Argv[0], env: cfg.Environ, stdin: os.DevNull}
	for range 3 {
		if r := p.forkedly(t, template); !r.exit.OK() {
			t.Errorf("a worker ended with %+v", r)
		}
	}
	text, err := os.ReadFile(count)
	if err != nil || strings.Count(string(text), "counts.py\n") != 4 {
		t.Errorf("counts.py was run with these scripts (%v), want it imported once "+
			"and run three times:\n%s", err, text)
	}
}

func TestCUDA(t *testing.T) {
	cfg := modules(t, "torch")
	cfg.Environ = environ(t, "PYTHONPATH="+data(t, "fake"))
	refusesCUDA(t, cfg, "torch.cuda.is_initialized()")
}

// TestNVIDIADevice opens a file with the name of an NVIDIA device, in a /dev of its own.
func TestNVIDIADevice(t *testing.T) {
	if os.Geteuid() != 0 {
		nvmltest.Unavailable(t, "cannot make a mount namespace: run as root")
	}
	cfg := modules(t, "nvidia")
	cfg.Start = func(cmd *exec.Cmd) error {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
		err := cmd.Start()
		if errors.Is(err, unix.EPERM) {
			nvmltest.Unavailable(t, "cannot make a mount namespace: it needs CAP_SYS_ADMIN")
		}
		return err
	}
	refusesCUDA(t, cfg, "/dev/nvidiactl is open")
}

func refusesCUDA(t *testing.T, cfg Config, how string) {
	t.Helper()
	template := begin(t, cfg)
	<-template.Ready()
	want := "the preloaded modules initialised CUDA (" + how + "), which a forked process cannot " +
		"use: keep CUDA calls out of module level, or use --start-method=exec"
	if err := template.Err(); err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

// TestClosedFiles has a module close the standard files. The descriptors that a worker receives
// must not get their numbers.
func TestClosedFiles(t *testing.T) {
	launchertest.BecomeSubreaper(t)
	template := usable(t, modules(t, "closes_files"))
	p := run{env: environ(t), stdin: os.DevNull}
	r := p.forkedly(t, template)
	if !r.exit.OK() || strings.Count(r.stdout, " ") != 3 || r.stderr != "" {
		t.Errorf("the worker ended with %+v, want exit code 0 and four numbers on stdout", r)
	}
}

func TestThreadsAreNamed(t *testing.T) {
	launchertest.BecomeSubreaper(t)
	cfg := modules(t, "threads")
	cfg.Environ = append(cfg.Environ, "PYTHONWARNINGS=error") // Python 3.12 warns when it forks
	out, w := pipe(t)
	cfg.Stderr = w
	template := usable(t, cfg)
	w.Close()
	_ = fork(t, template, Spec{Env: cfg.Environ})
	template.Close()
	const want = "gpulaunch: warning: the preloaded modules started threads, " +
		"which workers do not have: watcher\n"
	if text := readAll(out); text != want {
		t.Errorf("the standard error is %q, want %q", text, want)
	}
}

// TestWrappers has interpreters that are scripts and add options. If an interpreter cannot import
// the hook, it must not run the script.
func TestWrappers(t *testing.T) {
	launchertest.BecomeSubreaper(t)
	cfg := modules(t, "json")
	cfg.Environ = environ(t, "REAL_PYTHON="+cfg.Argv[0])
	cfg.Argv[0] = data(t, "isolated.sh")
	out, w := pipe(t)
	cfg.Stdout = w
	template := begin(t, cfg)
	w.Close()
	cfg.Stdout = nil
	<-template.Ready()
	err := template.Err()
	if err == nil || !strings.Contains(err.Error(), "runs with the option -I, -E or -S") {
		t.Errorf("the error is %v, want one that names the options", err)
	}
	<-template.Dead()
	if text := readAll(out); text != "" {
		t.Errorf("the script ran and printed %q", text)
	}
	// A wrapper may add other options.
	cfg.Argv = []string{data(t, "optimised.sh"), "-u", "testdata/facts.py", "a"}
	p := run{env: cfg.Environ, stdin: os.DevNull}
	r := p.forkedly(t, usable(t, cfg))
	for _, want := range []string{"optimize=1", "argv ['testdata/facts.py', 'a']"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("facts.py did not print %s:\n%s\n%s", want, r.stdout, r.stderr)
		}
	}
}

func TestNoPython(t *testing.T) {
	cfg := modules(t, "json")
	cfg.Argv[0] = "/bin/false"
	template := begin(t, cfg)
	<-template.Ready()
	const want = `"/bin/false" exited with code 1 before it imported anything`
	if err := template.Err(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want one with %s", err, want)
	}
	cfg.Argv[0] = "/nonesuch"
	if _, err := Start(cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("with a missing interpreter, Start returns the error %v", err)
	}
	cfg.Folder = "/tmp:x"
	if _, err := Start(cfg); err == nil || !strings.Contains(err.Error(), "colon") {
		t.Errorf("with the folder %s, Start returns the error %v", cfg.Folder, err)
	}
	cfg.Folder = "/nonesuch"
	if _, err := Start(cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("with a missing folder, Start returns the error %v", err)
	}
}

func TestCheck(t *testing.T) {
	for argv, ok := range map[string]bool{
		"/usr/bin/python3 -u train.py --lr 1": true,
		"/usr/bin/python3 -u -m train":        true,
		"/usr/bin/python3 -u app.pyz a":       true,
		"/usr/bin/python3 -u testdata/pkg":    true,
		"/usr/bin/python3 -u testdata/site":   false,
		"/usr/bin/python3 -u -m":              false,
		"/usr/bin/python3 train.py":           false,
		"/usr/bin/sort -u file":               false,
		"/bin/true":                           false,
		"":                                    false,
	} {
		err := Check(strings.Fields(argv))
		if (err == nil) != ok {
			t.Errorf("Check(%q) returns the error %v", argv, err)
		}
		if err != nil && !strings.Contains(err.Error(), "--start-method=exec") {
			t.Errorf("Check(%q) returns an error without --start-method=exec: %v", argv, err)
		}
		cfg := Config{Argv: strings.Fields(argv), Folder: "/nonesuch"}
		if _, err := Start(cfg); err == nil {
			t.Errorf("Start starts %q", argv)
		}
	}
}

func TestTemplateEnvironment(t *testing.T) {
	got := templateEnvironment([]string{
		"=x", "A=1", "OMP_PROC_BIND=true", "OMP_NUM_THREADS=2", "GOMP_CPU_AFFINITY=0",
		"OMP_PLACES=x", "KMP_AFFINITY=y",
	})
	if strings.Join(got, " ") != "A=1 OMP_NUM_THREADS=2" {
		t.Errorf("templateEnvironment returns %q, want A=1 and OMP_NUM_THREADS=2", got)
	}
}

func FuzzReceive(f *testing.F) {
	for _, seed := range []string{
		"", "\x00\x00\x00\x02{}", "\x00\x00\x00\x0c{\"error\":\"\"}",
		"\xff\xff\xff\xff{}", "\x00\x00\x00\x09{}", "\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var m failure
		r := strings.NewReader(text)
		err := receive(r, &m)
		if err == nil && (len(text) < 6 || len(text)-r.Len() > longest+4) {
			t.Errorf("receive reads %+v from %q, want an error", m, text)
		}
		if text == "" && err != io.EOF {
			t.Errorf("receive returns the error %v for no data, want io.EOF", err)
		}
	})
}

func FuzzParseAnonymous(f *testing.F) {
	f.Add("55d-7ff ---p 00000000 00:00 0    [rollup]\n" +
		"Rss:    1604 kB\nAnonymous:           128 kB\n")
	f.Add("Anonymous: 99999999999999999999 kB")
	f.Fuzz(func(t *testing.T, text string) {
		if n := parseAnonymous(text); n < 0 || n > 0 && !strings.Contains(text, fmt.Sprint(n>>10)) {
			t.Errorf("parseAnonymous(%q) is %d, which the text does not say", text, n)
		}
	})
}
