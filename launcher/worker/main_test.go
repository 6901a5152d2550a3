package worker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/gpulaunch/gpulaunch/launcher/internal/errorfile"
)

// TestMain is also the main function of the workers, which run one of the programs below.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "worker" {
		programs[os.Args[2]]()
		fmt.Println("returned")
		return
	}
	os.Exit(m.Run())
}

var programs = map[string]func(){
	"well": run(func() error { return nil }),
	"error": run(func() error {
		return fmt.Errorf("open %q: %w", "model", errors.New("not there"))
	}),
	"detailed":     run(func() error { return detailed{} }),
	"nothing said": run(func() error { return errors.New(" ") }),
	"nil pointer":  run(func() error { return (*pointed)(nil) }),
	"panic":        run(func() error { explode("out of lemons"); return nil }),
	"panic error":  run(func() error { explode(detailed{}); return nil }),
	"panic nil":    run(func() error { explode(nil); return nil }),
	"nil map":      run(func() error { dereference(nil); return nil }),
	"panic in defer": run(func() error {
		defer explode("second")
		panic("first")
	}),
	"recursion": run(func() error { fall(5000); return nil }),
	"goexit":    run(func() error { leaveEarly(); return nil }),
	// The first 64 KiB of this message end inside an é.
	"long": run(func() error { return errors.New("é" + strings.Repeat("\x01é", 1<<20)) }),
	"error once": run(func() error {
		return errors.Join(Record(errors.New("the cause")), errors.New("the rest"))
	}),
	"record":          func() { recording(errors.New("seen here")) },
	"record nil":      func() { recording(nil) },
	"record detailed": func() { recording(detailed{}) },
	"record together": func() {
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() { recording(fmt.Errorf("error %d", i)) })
		}
		all.Wait()
	},
}

func run(f func() error) func() {
	return func() {
		Run(func(i Info) error {
			fmt.Println("rank", i.Rank)
			return f()
		})
	}
}

//go:noinline
func explode(value any) { panic(value) }

//go:noinline
func dereference(m map[string]int) { m["x"] = 1 }

//go:noinline
func leaveEarly() { runtime.Goexit() }

//go:noinline
func fall(n int) {
	if n == 0 {
		panic("at the bottom")
	}
	fall(n - 1)
}

//go:noinline
func recording(err error) {
	if err := Record(err); err != nil {
		fmt.Println(err)
	}
}

// detailed is an error with a stack of its own, as some libraries make.
type detailed struct{}

func (detailed) Error() string { return "short" }

func (detailed) Format(s fmt.State, _ rune) {
	text := "short"
	if s.Flag('+') {
		text += "\nits.own.stack\n\tfile.go:1"
	}
	_, _ = io.WriteString(s, text)
}

// pointed is an error whose method panics for a nil pointer.
type pointed struct{ text string }

func (p *pointed) Error() string { return p.text }

// environ holds the variables that gpulaunch sets for rank 1 of 2 workers.
var environ = map[string]string{
	"RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
	"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
	"GPULAUNCH_LOCAL_RANK": "1", "TORCHELASTIC_RESTART_COUNT": "", "TORCHELASTIC_RUN_ID": "",
	"CUDA_VISIBLE_DEVICES": "", "GPULAUNCH_GPU_UUID": "", "GPULAUNCH_GPU_PCI": "",
}

// outcome is what is left of a worker that has ended.
type outcome struct {
	code           int
	stdout, stderr string
	record         *errorfile.Record // nil if it left none
}

func (o outcome) String() string {
	record := "nothing"
	if o.record != nil {
		record = fmt.Sprintf("%+v", *o.record)
	}
	return fmt.Sprintf("exit code %d, stdout %q, stderr %q, recorded %s",
		o.code, o.stdout, o.stderr, record)
}

// runWorker runs one of the programs as a worker whose error file is name. The worker gets env in
// addition to environ.
func runWorker(t *testing.T, program, name string, env ...string) (o outcome) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "worker", program)
	cmd.Env = append(cmd.Environ(), "TORCHELASTIC_ERROR_FILE="+name)
	for name, value := range environ {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Env = append(cmd.Env, env...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	o = outcome{
		code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String(),
	}
	if name != "" {
		o.record = readRecord(t, name)
	}
	return o
}

// readRecord reads an error file, if it exists, and checks that nothing else is in its folder.
func readRecord(t *testing.T, name string) *errorfile.Record {
	t.Helper()
	data, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	record, err := errorfile.Parse(data)
	if err != nil {
		t.Fatalf("the worker's record cannot be read (%v): %s", err, data)
	}
	info, err := os.Lstat(name)
	if err != nil || info.Mode() != 0o600 || info.Size() > 1<<20 {
		t.Errorf("the error file is %v (%v), want mode 0600 and at most 1 MiB", info, err)
	}
	if left, err := os.ReadDir(filepath.Dir(name)); err != nil || len(left) != 1 {
		t.Errorf("the folder contains %v (%v), want the error file alone", left, err)
	}
	return record
}
