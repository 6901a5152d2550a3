package affinity

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

func allowedInStatus(file string) (string, error) {
	status, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(status)) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			return strings.TrimSpace(list), nil
		}
	}
	return "", fmt.Errorf("no Cpus_allowed_list in %s", file)
}

func init() {
	childJobs["cpus"] = func() error {
		list, err := allowedInStatus("/proc/self/status")
		fmt.Print(list)
		return err
	}
	childJobs["memory"] = printMemory
	childJobs["threads"] = func() error { return runThreads("") }
	childJobs["stray"] = func() error { return runThreads(os.Getenv(strayVariable)) }
}

// childOutput starts a child from the calling thread and returns what it prints.
func childOutput(t *testing.T, job string) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childVariable+"="+job)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// childCPUs starts a child from the calling thread and returns the CPUs that the child may use.
func childCPUs(t *testing.T) string {
	t.Helper()
	return childOutput(t, "cpus")
}

func TestApply(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := Current(0)
	if err != nil {
		t.Fatal(err)
	}
	one := CPUs(before.Max())
	restore, err := Apply(one)
	if err != nil {
		t.Fatal(err)
	}
	if now, err := Current(0); err != nil || !now.Equal(one) {
		t.Errorf("bound to %s, the kernel says %s, %v", one, now, err)
	}
	list, err := allowedInStatus("/proc/thread-self/status")
	if err != nil || list != one.String() {
		t.Errorf("bound to %s, /proc says %q, %v", one, list, err)
	}
	if got := childCPUs(t); got != one.String() {
		t.Errorf("bound to %s, a child has %q", one, got)
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	if now, err := Current(0); err != nil || !now.Equal(before) {
		t.Errorf("restored to %s, the kernel says %s, %v", before, now, err)
	}
	// Without Apply, a child has more than one CPU, so the test above can tell the difference.
	if before.Len() < 2 {
		nvmltest.NotOnThisMachine(t, "only CPU "+before.String()+
			" may be used: binding to it cannot be told from not binding")
	}
	if got := childCPUs(t); got == one.String() {
		t.Errorf("a child has %q without being bound", got)
	}
}

func TestApplyErrors(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, err := Apply(CPUSet{}); err == nil {
		t.Error("bound to no CPU")
	}
	if _, err := Apply(CPUs(maxCPUs - 1)); !errors.Is(err, unix.EINVAL) {
		t.Errorf("bound to a CPU that is not there: %v", err)
	}
	if _, err := Current(1 << 30); !errors.Is(err, unix.ESRCH) {
		t.Errorf("affinity of no process: %v", err)
	}
}

func TestReadTopologyLive(t *testing.T) {
	topo, err := ReadTopology("/")
	if err != nil {
		t.Fatalf("this machine cannot be read: %v", err)
	}
	mine, err := Current(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !topo.Allowed.Equal(mine) || !topo.Allowed.SubsetOf(topo.Online) {
		t.Errorf("allowed %s of %s, the kernel says %s", topo.Allowed, topo.Online, mine)
	}
	checkShape(t, topo)
}

func TestReadQuotaLive(t *testing.T) {
	cpus, limited, err := ReadQuota("/")
	if err != nil || limited != (cpus > 0) {
		t.Errorf("%v, %v, %v", cpus, limited, err)
	}
}
