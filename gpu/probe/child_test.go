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

// The values of childMode say how the child behaves.
const (
	childReal      = "real"      // runs ServeChild with the NVML of childLibrary and childRoot
	childCanned    = "canned"    // answers with cannedProbe
	childChatty    = "chatty"    // the same, and prints on both outputs at each request
	childHang      = "hang"      // takes the first request and never answers
	childHangLater = "hanglater" // answers one request and hangs in the second
	childCrash     = "crash"     // panics at the first request
	childGarbage   = "garbage"   // answers with a length that is too large
	childNotJSON   = "notjson"   // answers with something that is not JSON
	childStubborn  = "stubborn"  // does not exit when its pipe is closed
	childOrphan    = "orphan"    // starts a process that stays, and exits at the first request
	childLeaky     = "leaky"     // the same, but that process inherits the pipes
	childWaits     = "waits"     // is such a process: it stays while childUntil is locked
)

const (
	childLibrary = "GPU_TEST_LIBRARY"
	childRoot    = "GPU_TEST_ROOT"
	childUntil   = "GPU_TEST_UNTIL"
)

// cannedProbe answers without NVML.
type cannedProbe struct{}

func (cannedProbe) Inventory() gpu.Inventory {
	inv := gputest.Inventory(2)
	inv.Reason = fmt.Sprintf("process %d", os.Getpid())
	return inv
}

func (cannedProbe) Listen() {}

func (cannedProbe) Sample() gpu.Sample {
	return gpu.Sample{Time: time.Unix(1, 0).UTC(), Devices: []gpu.DeviceSample{
		{UUID: gputest.UUID(0), MemoryUsedBytes: new(uint64(7))},
	}}
}

// failingProbe answers a number of questions and calls fail at each later one.
type failingProbe struct {
	cannedProbe
	answers int
	fail    func()
}

func (p *failingProbe) Inventory() gpu.Inventory {
	p.answers--
	if p.answers < 0 {
		p.fail()
	}
	return p.cannedProbe.Inventory()
}

func hang() { syscall.Pause() }

func runChild(mode string) int {
	switch mode {
	case childReal:
		o := Options{Library: os.Getenv(childLibrary), Root: os.Getenv(childRoot)}
		return exitCode(ServeChild(o))
	case childWaits:
		return waitForLock(os.Getenv(childUntil))
	}
	in, out, _, err := childPipes()
	if err != nil {
		return exitCode(err)
	}
	answer := func(p prober) int { return exitCode(serve(in, out, p, func() {})) }
	switch mode {
	case childCanned:
		return answer(cannedProbe{})
	case childChatty:
		return answer(&failingProbe{fail: func() {
			fmt.Println(strings.Repeat("noise on standard output ", 5000))
			fmt.Fprintln(os.Stderr, strings.Repeat("noise on standard error ", 5000))
		}})
	case childHang:
		return answer(&failingProbe{fail: hang})
	case childHangLater:
		return answer(&failingProbe{answers: 1, fail: hang})
	case childCrash:
		return answer(&failingProbe{fail: func() { panic("out of luck") }})
	case childGarbage:
		return writeAnswer(in, out, "\xff\xff\xff\xff")
	case childNotJSON:
		return writeAnswer(in, out, "\x00\x00\x00\x01}")
	case childOrphan:
		return answer(&failingProbe{fail: func() { exitLeavingProcess() }})
	case childLeaky:
		return answer(&failingProbe{fail: func() { exitLeavingProcess(in, out) }})
	case childStubborn:
		answer(cannedProbe{})
		hang()
	}
	return 2
}

// exitLeavingProcess starts a process that inherits the files and outlives this one, and exits.
func exitLeavingProcess(files ...*os.File) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childMode+"="+childWaits)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, files
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(3)
}

// waitForLock waits until nobody else has locked the file, or the file is gone.
func waitForLock(path string) int {
	file, err := os.Open(path)
	if err != nil {
		return exitCode(err)
	}
	return exitCode(syscall.Flock(int(file.Fd()), syscall.LOCK_SH))
}

// writeAnswer answers one request with the text as it is, and hangs.
func writeAnswer(in io.Reader, out io.Writer, text string) int {
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
