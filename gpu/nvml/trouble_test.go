//go:build linux && !nonvml

package nvml

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return value
}

func init() {
	// Names GPU 0, which hangs or crashes, while the rest of the process goes on.
	children["name"] = func(libPath string) {
		lib := must(Open(libPath))
		must(0, lib.Init())
		d := must(lib.Device(0))
		done := make(chan string)
		go func() { done <- must(d.Name()) }()
		log := filepath.Join(filepath.Dir(libPath), "calls")
		for !strings.Contains(string(must(os.ReadFile(log))), "nvmlDeviceGetName") {
			runtime.Gosched()
		}
		// It is inside the library now. Go must run, collect garbage and call the library all the same.
		runtime.GC()
		fmt.Println("inside;", must(must(lib.Device(1)).Name()))
		fmt.Println("done:", <-done)
	}
}

func troubled(t *testing.T, action nvmltest.Action) string {
	m := nvmltest.EightGPUs(node0, node1).With(nvmltest.Behavior{Function: "nvmlDeviceGetName", Device: 0, Action: action})
	m.LogCalls = true
	return nvmltest.Install(t, m)
}

func TestHangBlocksOneGoroutineOnly(t *testing.T) {
	cmd := child(t, "name", troubled(t, nvmltest.Hang))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "inside; NVIDIA H100 80GB HBM3\n" {
		t.Errorf("child said %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("hanging child ended by itself: %v", err)
	}
}

// The same child without trouble: what the tests here see comes from the trouble.
func TestNoTrouble(t *testing.T) {
	out, err := child(t, "name", troubled(t, nvmltest.Sleep(1))).Output()
	if err != nil || !strings.HasSuffix(string(out), "done: NVIDIA H100 80GB HBM3\n") {
		t.Errorf("%s %v", out, err)
	}
}

func TestCrashEndsTheProcess(t *testing.T) {
	for name, action := range map[string]nvmltest.Action{"segfault": nvmltest.Segfault, "abort": nvmltest.Abort} {
		cmd := child(t, "name", troubled(t, action))
		out, err := cmd.Output()
		if err == nil || strings.Contains(string(out), "done") {
			t.Errorf("%s: %s %v", name, out, err)
		}
	}
}

// What C writes into must stay where it is while goroutine stacks grow, which moves them, and garbage is collected.
func TestCallsWhileMemoryMoves(t *testing.T) {
	m := nvmltest.EightGPUs(node0, node1)
	lib := start(t, m)
	d := device(t, lib, 0)
	want := MemoryInfo(m.Devices[0].Memory)
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	// A new goroutine begins with a small stack; at some of these depths it is the call itself that makes it grow.
	for round := range 4 * 256 {
		result := make(chan MemoryInfo)
		go func() { result <- recurse(round%256, d) }()
		if got := <-result; got != want {
			t.Fatalf("depth %d: got %+v", round%256, got)
		}
	}
}

//go:noinline
func recurse(depth int, d Device) MemoryInfo {
	if depth == 0 {
		memory, _ := d.Memory()
		return memory
	}
	return recurse(depth-1, d)
}
