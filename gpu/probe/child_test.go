package probe

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/gputest"
)

// How a child of the tests behaves, by the value of childMode.
const (
	childReal      = "real"      // ServeChild with an NVML given by childLibrary and childRoot
	childCanned    = "canned"    // answers what cannedProbe says
	childChatty    = "chatty"    // the same, printing on standard output and error all the while
	childHang      = "hang"      // takes the first request and never answers
	childHangLater = "hanglater" // answers one request and hangs in the second
	childCrash     = "crash"     // panics at the first request
	childGarbage   = "garbage"   // answers with a length that is too large
	childNotJSON   = "notjson"   // answers with something that is no JSON
	childStubborn  = "stubborn"  // does not end when its pipe closes
	childOrphan    = "orphan"    // starts a process, which stays, and dies at the first request
	childLeaky     = "leaky"     // the same, but that process gets the pipes too
	childWaits     = "waits"     // is such a process: stays as long as the file at childUntil is locked
)

const (
	childLibrary = "GPU_TEST_LIBRARY"
	childRoot    = "GPU_TEST_ROOT"
	childUntil   = "GPU_TEST_UNTIL"
)

// cannedProbe answers without any NVML.
type cannedProbe struct{}

func (cannedProbe) Inventory() gpu.Inventory {
	inv := gputest.Inventory(2)
	inv.Reason = fmt.Sprintf("process %d", os.Getpid())
	return inv
}

func (cannedProbe) Listen() {}

func (cannedProbe) Sample() gpu.Sample {
	used := uint64(7)
	return gpu.Sample{Time: time.Unix(1, 0).UTC(), Devices: []gpu.DeviceSample{{UUID: gputest.UUID(0), MemoryUsedBytes: &used}}}
}

// failingProbe does something else than answer, from a given question on.
type failingProbe struct {
	cannedProbe
	good int
	fail func()
}

func (p *failingProbe) Inventory() gpu.Inventory {
	p.good--
	if p.good < 0 {
		p.fail()
	}
	return p.cannedProbe.Inventory()
}

func hang() { syscall.Pause() }

func runChild(mode string) int {
	switch mode {
	case childReal:
		return exitCode(ServeChild(Options{Library: os.Getenv(childLibrary), Root: os.Getenv(childRoot)}))
	case childWaits:
		return waitForLock(os.Getenv(childUntil))
	}
	in, out, _, err := childPipes()
	if err != nil {
		return exitCode(err)
	}
	switch mode {
	case childCanned:
		return exitCode(serve(in, out, cannedProbe{}, func() {}))
	case childChatty:
		return exitCode(serve(in, out, &failingProbe{good: 0, fail: func() {
			fmt.Println(strings.Repeat("noise on standard output ", 5000))
			fmt.Fprintln(os.Stderr, strings.Repeat("noise on standard error ", 5000))
		}}, func() {}))
	case childHang:
		return exitCode(serve(in, out, &failingProbe{fail: hang}, func() {}))
	case childHangLater:
		return exitCode(serve(in, out, &failingProbe{good: 1, fail: hang}, func() {}))
	case childCrash:
		return exitCode(serve(in, out, &failingProbe{fail: func() { panic("out of luck") }}, func() {}))
	case childGarbage:
		return answerWith(in, out, "\xff\xff\xff\xff")
	case childNotJSON:
		return answerWith(in, out, "\x00\x00\x00\x01}")
	case childOrphan:
		return exitCode(serve(in, out, &failingProbe{fail: func() { leaveBehind() }}, func() {}))
	case childLeaky:
		return exitCode(serve(in, out, &failingProbe{fail: func() { leaveBehind(in, out) }}, func() {}))
	case childStubborn:
		serve(in, out, cannedProbe{}, func() {})
		hang()
	}
	return 2
}

// leaveBehind starts a process that outlives this one, and ends this one.
func leaveBehind(files ...*os.File) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childMode+"="+childWaits)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, files
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(3)
}

// waitForLock returns when nobody else has the file locked, or when it is gone.
func waitForLock(path string) int {
	file, err := os.Open(path)
	if err != nil {
		return exitCode(err)
	}
	return exitCode(syscall.Flock(int(file.Fd()), syscall.LOCK_SH))
}

func answerWith(in io.Reader, out io.Writer, text string) int {
	readFrame(in)
	io.WriteString(out, text)
	hang()
	return 0
}

func exitCode(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
