//go:build linux && !nonvml

package nvml

import (
	"bufio"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

func init() {
	// This child asks for the name of GPU 0, which hangs or crashes, while it goes on.
	children["name"] = func(libPath string) {
		lib := must(Open(libPath))
		must(0, lib.Init())
		d := must(lib.Device(0))
		done := make(chan string)
		go func() { done <- must(d.Name()) }()
		must(0, nvmltest.WaitForCall(context.Background(), libPath, "nvmlDeviceGetName 0", 1))
		// A goroutine is inside the library now. The others must run, collect garbage and call
		// the library all the same.
		runtime.GC()
		fmt.Println("inside;", must(must(lib.Device(1)).Name()))
		fmt.Println("done:", <-done)
	}
}

// installTrouble installs a library in which asking for the name of GPU 0 does the action.
func installTrouble(t *testing.T, action nvmltest.Action) string {
	t.Helper()
	m := eightGPUs().With(action.InDevice("nvmlDeviceGetName", 0))
	m.LogCalls = true
	return nvmltest.Install(t, m)
}

const h100 = "NVIDIA H100 80GB HBM3"

func TestHangBlocksOneGoroutineOnly(t *testing.T) {
	cmd := childCommand(t, "name", installTrouble(t, nvmltest.Hang))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if want := "inside; " + h100 + "\n"; line != want {
		t.Errorf("the child said %q (%v), want %q", line, err, want)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	err = cmd.Wait()
	if signal := cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(); signal != syscall.SIGKILL {
		t.Errorf("the child that hangs ended by itself: %v", err)
	}
}

// TestNoTrouble runs the same child with a library that works. It shows that the other tests here
// see the effect of the trouble.
func TestNoTrouble(t *testing.T) {
	out, err := childCommand(t, "name", installTrouble(t, nvmltest.Sleep(1))).Output()
	if err != nil {
		t.Errorf("the child failed: %v", err)
	}
	if want := "done: " + h100 + "\n"; !strings.HasSuffix(string(out), want) {
		t.Errorf("the child said %q, want it to end with %q", out, want)
	}
}

func TestCrashEndsTheProcess(t *testing.T) {
	for name, action := range map[string]nvmltest.Action{
		"segfault": nvmltest.Segfault, "abort": nvmltest.Abort,
	} {
		out, err := childCommand(t, "name", installTrouble(t, action)).Output()
		if err == nil {
			t.Errorf("%s: the child did not fail", name)
		}
		if strings.Contains(string(out), "done") {
			t.Errorf("%s: the call returned: %s", name, out)
		}
	}
}

// TestCallsWhileMemoryMoves checks that the memory that C writes to stays in place while the
// stacks of goroutines grow, which moves them, and while garbage is collected.
func TestCallsWhileMemoryMoves(t *testing.T) {
	m := eightGPUs()
	d := device(t, start(t, m), 0)
	want := MemoryInfo(m.Devices[0].Memory)
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	// A new goroutine begins with a small stack. At some of these depths it is the call itself
	// that makes the stack grow.
	for round := range 4 * 256 {
		depth := round % 256
		result := make(chan MemoryInfo)
		go func() { result <- memoryAtDepth(depth, d) }()
		if got := <-result; got != want {
			t.Fatalf("at depth %d the memory is %+v, want %+v", depth, got, want)
		}
	}
}

//go:noinline
func memoryAtDepth(depth int, d Device) MemoryInfo {
	if depth == 0 {
		memory, _ := d.Memory()
		return memory
	}
	return memoryAtDepth(depth-1, d)
}

// TestRunning checks that the call that hangs is known, and that nothing is left of calls that have
// returned or failed.
func TestRunning(t *testing.T) {
	m := eightGPUs()
	m.LogCalls = true
	path := nvmltest.Install(t, m)
	lib := startLibrary(t, path)
	deviceFacts(device(t, lib, 0))
	if function, _, ok := Running(); ok {
		t.Errorf("%s is running", function)
	}
	before := time.Now()
	nvmltest.Change(t, path, m.With(nvmltest.Sleep(300).In("nvmlDeviceGetName")))
	done := make(chan error)
	go func() { _, err := device(t, lib, 0).Name(); done <- err }()
	if err := nvmltest.WaitForCall(t.Context(), path, "nvmlDeviceGetName", 2); err != nil {
		t.Fatal(err)
	}
	function, since, ok := Running()
	if !ok || function != "nvmlDeviceGetName" || since.Before(before) {
		t.Errorf("%q is running since %v: %v", function, since, ok)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if function, _, ok := Running(); ok {
		t.Errorf("%s is running", function)
	}
}
