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

// TestMain is also the main function of the workers: one of the programs below.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "worker" {
		programs[os.Args[2]]()
		fmt.Println("returned")
		return
	}
	os.Exit(m.Run())
}

var programs = map[string]func(){
	"well":         run(func() error { return nil }),
	"error":        run(func() error { return fmt.Errorf("open %q: %w", "model", errors.New("not there")) }),
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
	// 64 KiB end within an é.
	"long":            run(func() error { return errors.New("é" + strings.Repeat("\x01é", 1<<20)) }),
	"error once":      run(func() error { return errors.Join(Record(errors.New("the cause")), errors.New("the rest")) }),
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

// detailed is an error with a stack of its own, as some libraries make them.
type detailed struct{}

func (detailed) Error() string { return "short" }

func (detailed) Format(s fmt.State, _ rune) {
	text := "short"
	if s.Flag('+') {
		text += "\nits.own.stack\n\tfile.go:1"
	}
	_, _ = io.WriteString(s, text)
}

// pointed is an error that cannot be asked when it is nil.
type pointed struct{ text string }

func (p *pointed) Error() string { return p.text }

// environ is what gpulaunch tells rank 1 of 2, less what the test leaves to be inherited.
var environ = map[string]string{
	"RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
	"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
	"GPULAUNCH_LOCAL_RANK": "1", "TORCHELASTIC_RESTART_COUNT": "", "TORCHELASTIC_RUN_ID": "",
	"CUDA_VISIBLE_DEVICES": "", "GPULAUNCH_GPU_UUID": "", "GPULAUNCH_GPU_PCI": "",
}

// ended is how a worker has ended.
type ended struct {
	code           int
	stdout, stderr string
	record         *errorfile.Record // nil without one
}

// worker runs a program whose record, if it leaves one, is to go to the file name.
func worker(t *testing.T, program, name string, env ...string) (e ended) {
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
	e = ended{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
	data, err := os.ReadFile(name)
	if os.IsNotExist(err) || name == "" {
		return e
	}
	if err != nil {
		t.Fatal(err)
	}
	if e.record, err = errorfile.Parse(data); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	info, err := os.Lstat(name)
	if err != nil || info.Mode() != 0o600 || info.Size() > 1<<20 {
		t.Errorf("the record is %v (%v)", info, err)
	}
	if left, err := os.ReadDir(filepath.Dir(name)); err != nil || len(left) != 1 {
		t.Errorf("beside the record: %v (%v)", left, err)
	}
	return e
}
