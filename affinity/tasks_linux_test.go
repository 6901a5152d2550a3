package affinity

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

const (
	strayVariable = "AFFINITY_TEST_STRAY"
	childThreads  = 4
)

// runThreads keeps threads until the standard input ends. If it gets a list of CPUs, it binds one
// of the threads to them.
func runThreads(stray string) error {
	var ready sync.WaitGroup
	failed := make(chan error, childThreads)
	ended := make(chan struct{})
	defer close(ended)
	for i := range childThreads {
		ready.Add(1)
		go func() {
			runtime.LockOSThread() // so the thread exists for as long as the goroutine
			if i == 0 && stray != "" {
				cpus, err := ParseCPUList(stray)
				if err == nil {
					_, err = Apply(cpus)
				}
				failed <- err
			} else {
				failed <- nil
			}
			ready.Done()
			<-ended
		}()
	}
	ready.Wait()
	for range childThreads {
		if err := <-failed; err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// threadsOfChild starts a child with several threads from the calling thread, and returns the CPUs
// of each of the child's threads.
func threadsOfChild(t *testing.T, job, stray string) map[int]CPUSet {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childVariable+"="+job, strayVariable+"="+stray)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("the child says %q, %v", line, err)
	}
	threads, err := CurrentAll(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := threads[cmd.Process.Pid]; !ok || len(threads) <= childThreads {
		t.Errorf("threads %v of process %d, want more than %d",
			threads, cmd.Process.Pid, childThreads)
	}
	return threads
}

func TestCurrentAll(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := Current(0)
	if err != nil {
		t.Fatal(err)
	}
	if before.Len() < 2 {
		nvmltest.NotOnThisMachine(t, "only CPU "+before.String()+
			" may be used: a thread on another CPU cannot be told from the others")
	}
	one, other := CPUs(before.Min()), CPUs(before.Max())
	restore, err := Apply(one)
	if err != nil {
		t.Fatal(err)
	}
	defer restore()
	for tid, cpus := range threadsOfChild(t, "threads", "") {
		if !cpus.Equal(one) {
			t.Errorf("thread %d of a child bound to %s may use %s", tid, one, cpus)
		}
	}
	strays := 0
	for _, cpus := range threadsOfChild(t, "stray", other.String()) {
		if cpus.Equal(other) {
			strays++
		}
	}
	if strays != 1 {
		t.Errorf("%d threads strayed, want 1", strays)
	}
}

func TestCurrentAllNoProcess(t *testing.T) {
	if threads, err := CurrentAll(1 << 30); !errors.Is(err, unix.ESRCH) {
		t.Errorf("threads of no process: %v, %v", threads, err)
	}
}
