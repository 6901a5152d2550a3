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
)

func TestPreloadFails(t *testing.T) {
	for name, c := range map[string]struct{ module, text, traceback string }{
		"nonesuch":        {"nonesuch", "cannot import nonesuch: ModuleNotFoundError: No module named 'nonesuch'", "Error"},
		"imports_missing": {"imports_missing", "cannot import imports_missing: ModuleNotFoundError: No module named 'nonesuch'", "import nonesuch.thing"},
		"json.nonesuch":   {"json.nonesuch", "cannot import json.nonesuch: ModuleNotFoundError: No module named 'json.nonesuch'", "Error"},
		"broken":          {"broken", "cannot import broken: ValueError: two lines", "in deep"},
		"exits":           {"exits", "cannot import exits: SystemExit: 3", "sys.exit(3)"},
		"exits_hard":      {"exits_hard", "cannot import exits_hard: the process that was doing so exited with code 4", ""},
		"aborts":          {"aborts", "cannot import aborts: the process that was doing so " + ended(unix.SIGABRT), ""},
		"kills_itself":    {"kills_itself", "cannot import kills_itself: the process that was doing so " + ended(unix.SIGKILL), ""},
		"interrupted":     {"interrupted", "cannot import interrupted: KeyboardInterrupt", "raise KeyboardInterrupt"},
		"closes_link":     {"closes_link", "cannot import closes_link: the process that was doing so exited with code 1", ""},
		"garbles_link":    {"garbles_link", "cannot import garbles_link: the process that was doing so " + ended(unix.SIGKILL), ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := modules(t, "json", name, "prints")
			cfg.Stdout, cfg.Stderr = nil, nil
			template := begin(t, cfg)
			<-template.Ready()
			var p *PreloadError
			if err := template.Err(); !errors.As(err, &p) {
				t.Fatalf("%v", err)
			}
			// A core file is not the module's doing.
			if text := strings.TrimSuffix(p.Text, " (core dumped)"); p.Module != c.module || text != c.text {
				t.Errorf("%q: %q", p.Module, p.Text)
			}
			if !strings.Contains(p.Traceback, c.traceback) || (p.Traceback == "") != (c.traceback == "") || strings.Contains(p.Traceback, hook) {
				t.Errorf("traceback %s", p.Traceback)
			}
			<-template.Dead()
			if _, err := template.Fork(Spec{}, nil); err != template.Err() {
				t.Errorf("Fork: %v", err)
			}
		})
	}
}

// ended says that a signal ended a process.
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
	go func() { text <- all(out) }()
	<-template.Ready()
	if err := template.Err(); err != nil {
		t.Error(err)
	}
	template.Close()
	if n := len(<-text); n != 2*64*65536 {
		t.Errorf("%d bytes", n)
	}
}

func TestFacts(t *testing.T) {
	template := usable(t, modules(t, "json", "email.message"))
	f := template.Facts()
	if f.PID <= 0 || strings.Join(f.Modules, " ") != "json email.message" || f.Import <= 0 || f.Shared < 1<<20 || f.Shared > 1<<30 {
		t.Errorf("%+v", f)
	}
}

// TestImportedOnce: the module next to the script is found, before others, and
// workers do not import it again.
func TestImportedOnce(t *testing.T) {
	subreaper(t)
	count := filepath.Join(t.TempDir(), "count")
	cfg := modules(t, "counts")
	cfg.Argv[2] = "testdata/preload/counts.py"
	cfg.Environ = append(cfg.Environ, "COUNT_FILE="+count)
	cfg.Argv = []string{cfg.Argv[0], "-u", "testdata/preload/counts.py"}
	cfg.Environ = environ(t, "PYTHONPATH=", "COUNT_FILE="+count)
	template := usable(t, cfg)
	p := run{python: cfg.Argv[0], env: cfg.Environ, stdin: os.DevNull}
	for range 3 {
		if r := p.forkedly(t, template); !r.exit.OK() {
			t.Errorf("%+v", r)
		}
	}
	// Once imported, then run three times as __main__.
	text, err := os.ReadFile(count)
	if err != nil || strings.Count(string(text), "counts.py\n") != 4 {
		t.Errorf("%q, %v", text, err)
	}
}

func TestCUDA(t *testing.T) {
	cfg := modules(t, "torch")
	cfg.Environ = environ(t, "PYTHONPATH="+data(t, "fake"))
	refusesCUDA(t, cfg, "torch.cuda.is_initialized()")
}

// TestNVIDIADevice opens a file by that name in a /dev of its own.
func TestNVIDIADevice(t *testing.T) {
	if os.Geteuid() != 0 {
		nvmltest.Unavailable(t, "no mount namespace: run as root")
	}
	cfg := modules(t, "nvidia")
	cfg.Start = func(cmd *exec.Cmd) error {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
		err := cmd.Start()
		if errors.Is(err, unix.EPERM) {
			nvmltest.Unavailable(t, "no mount namespace: needs CAP_SYS_ADMIN")
		}
		return err
	}
	refusesCUDA(t, cfg, "/dev/nvidiactl is open")
}

func refusesCUDA(t *testing.T, cfg Config, how string) {
	t.Helper()
	template := begin(t, cfg)
	<-template.Ready()
	want := "the preload initialised CUDA (" + how + "), which a forked process cannot use: " +
		"keep CUDA calls out of module level, or use --start-method=exec"
	if err := template.Err(); err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

// TestClosedFiles: what a worker is sent does not take the place of closed files.
func TestClosedFiles(t *testing.T) {
	subreaper(t)
	template := usable(t, modules(t, "closes_files"))
	p := run{env: environ(t), stdin: os.DevNull}
	if r := p.forkedly(t, template); !r.exit.OK() || strings.Count(r.stdout, " ") != 3 || r.stderr != "" {
		t.Errorf("%+v", r)
	}
}

func TestThreadsAreNamed(t *testing.T) {
	subreaper(t)
	cfg := modules(t, "threads")
	cfg.Environ = append(cfg.Environ, "PYTHONWARNINGS=error") // Python 3.12 warns when it forks
	out, w := pipe(t)
	cfg.Stderr = w
	template := usable(t, cfg)
	w.Close()
	_ = fork(t, template, Spec{Env: cfg.Environ})
	template.Close()
	if text := all(out); text != "gpulaunch: the preload started threads, which do not live on in workers: watcher\n" {
		t.Errorf("%q", text)
	}
}

// TestWrappers: an interpreter that would not find the hook must not run the script.
func TestWrappers(t *testing.T) {
	subreaper(t)
	cfg := modules(t, "json")
	cfg.Environ = environ(t, "REAL_PYTHON="+cfg.Argv[0])
	cfg.Argv[0] = data(t, "isolated.sh")
	out, w := pipe(t)
	cfg.Stdout = w
	template := begin(t, cfg)
	w.Close()
	cfg.Stdout = nil
	<-template.Ready()
	if err := template.Err(); err == nil || !strings.Contains(err.Error(), "ignores its environment") {
		t.Errorf("%v", err)
	}
	<-template.Dead()
	if text := all(out); text != "" {
		t.Errorf("it ran: %q", text)
	}
	// Other options of a wrapper are kept.
	cfg.Argv = []string{data(t, "optimised.sh"), "-u", "testdata/facts.py", "a"}
	p := run{env: cfg.Environ, stdin: os.DevNull}
	r := p.forkedly(t, usable(t, cfg))
	if !strings.Contains(r.stdout, "optimize=1") || !strings.Contains(r.stdout, "argv ['testdata/facts.py', 'a']") {
		t.Errorf("%s%s", r.stdout, r.stderr)
	}
}

func TestNoPython(t *testing.T) {
	cfg := modules(t, "json")
	cfg.Argv[0] = "/bin/false"
	template := begin(t, cfg)
	<-template.Ready()
	if err := template.Err(); err == nil || !strings.Contains(err.Error(), `"/bin/false" exited with code 1 before it imported anything`) {
		t.Errorf("%v", err)
	}
	cfg.Argv[0] = "/nonesuch"
	if _, err := Start(cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	cfg.Folder = "/tmp:x"
	if _, err := Start(cfg); err == nil || !strings.Contains(err.Error(), "colon") {
		t.Errorf("%v", err)
	}
	cfg.Folder = "/nonesuch"
	if _, err := Start(cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestCheck(t *testing.T) {
	for argv, ok := range map[string]bool{
		"/usr/bin/python3 -u train.py --lr 1": true,
		"/usr/bin/python3 -u -m train":        true,
		"/usr/bin/python3 -u -m":              false,
		"/usr/bin/python3 train.py":           false,
		"/usr/bin/sort -u file":               false,
		"/bin/true":                           false,
		"":                                    false,
	} {
		err := Check(strings.Fields(argv))
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "--start-method=exec") {
			t.Errorf("%q: %v", argv, err)
		}
		if _, err := Start(Config{Argv: strings.Fields(argv), Folder: "/nonesuch"}); err == nil {
			t.Errorf("%q was started", argv)
		}
	}
}

func TestTemplateEnvironment(t *testing.T) {
	got := templateEnvironment([]string{"=x", "A=1", "OMP_PROC_BIND=true", "OMP_NUM_THREADS=2", "GOMP_CPU_AFFINITY=0", "OMP_PLACES=x", "KMP_AFFINITY=y"})
	if strings.Join(got, " ") != "A=1 OMP_NUM_THREADS=2" {
		t.Error(got)
	}
}

func FuzzReceive(f *testing.F) {
	for _, seed := range []string{"", "\x00\x00\x00\x02{}", "\x00\x00\x00\x0c{\"error\":\"\"}", "\xff\xff\xff\xff{}", "\x00\x00\x00\x09{}", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var m failure
		r := strings.NewReader(text)
		if err := receive(r, &m); err == nil && (len(text) < 6 || len(text)-r.Len() > longest+4) {
			t.Errorf("%q gives %+v", text, m)
		} else if text == "" && err != io.EOF {
			t.Error(err)
		}
	})
}

func FuzzParseAnonymous(f *testing.F) {
	f.Add("55d-7ff ---p 00000000 00:00 0    [rollup]\nRss:    1604 kB\nAnonymous:           128 kB\n")
	f.Add("Anonymous: 99999999999999999999 kB")
	f.Fuzz(func(t *testing.T, text string) {
		if n := parseAnonymous(text); n < 0 || n > 0 && !strings.Contains(text, fmt.Sprint(n>>10)) {
			t.Errorf("%q gives %d", text, n)
		}
	})
}
