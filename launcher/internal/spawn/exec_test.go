package spawn

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/internal/cgroup"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// newSpawner returns a Spawner that is closed when the test ends.
func newSpawner(t *testing.T) *Spawner {
	s := New()
	t.Cleanup(s.Close)
	return s
}

// on runs f on the Spawner's thread and waits for it.
func (s *Spawner) on(f func()) {
	done := make(chan struct{})
	s.Go(func() { defer close(done); f() })
	<-done
}

// execute runs a program to its end and returns its standard output. change changes the Spec that
// it is started with. inside, if not nil, is called on the Spawner's thread right after the start.
func execute(
	t *testing.T, s *Spawner, change func(*Spec), inside func(), argv ...string,
) (stdout string, p *Process, err error) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spec := Spec{Job: &Job{}, Argv: argv, Env: os.Environ(), CPUs: launchertest.AllowedCPUs(t),
		Files: [3]*os.File{null, w, os.Stderr}}
	if change != nil {
		change(&spec)
	}
	s.on(func() {
		p, err = s.Exec(spec)
		if inside != nil {
			inside()
		}
	})
	w.Close()
	if err != nil {
		return "", nil, err
	}
	out, _ := io.ReadAll(r)
	p.Wait()
	return string(out), p, nil
}

// oneCPU returns one of the CPUs that this process may use. The test needs another one, to tell the
// two from each other.
func oneCPU(t *testing.T) affinity.CPUSet {
	t.Helper()
	all := launchertest.AllowedCPUs(t)
	if all.Len() < 2 {
		nvmltest.NotOnThisMachine(t, "only CPU "+all.String()+
			" may be used: one binding cannot be told from another")
	}
	return affinity.CPUs(all.Max())
}

// TestBindingIsRestored checks that the thread that starts workers has its own CPUs again after
// each of them: a helper that it starts later would otherwise run on the last worker's CPUs.
func TestBindingIsRestored(t *testing.T) {
	one, s := oneCPU(t), newSpawner(t)
	all := launchertest.AllowedCPUs(t)
	var after affinity.CPUSet
	out, _, err := execute(t, s, func(spec *Spec) { spec.CPUs = one },
		func() { after, _ = affinity.Current(0) }, "/bin/grep", "Cpus_allowed_list",
		"/proc/self/status")
	if err != nil || strings.TrimSpace(out) != "Cpus_allowed_list:\t"+one.String() {
		t.Errorf("the worker has %q, want CPU %s (%v)", out, one, err)
	}
	if !after.Equal(all) {
		t.Errorf("after the start of a worker the thread has the CPUs %s, want %s", after, all)
	}
	if out := helperOutput(t, s, "Cpus_allowed_list"); !strings.HasSuffix(out, all.String()) {
		t.Errorf("a helper that is started later has %q, want %s", out, all)
	}
	// A failed start restores the binding, too.
	_, _, err = execute(t, s, func(spec *Spec) { spec.CPUs = one },
		func() { after, _ = affinity.Current(0) }, "/no/such/program")
	if err == nil || !after.Equal(all) {
		t.Errorf("after a failure (%v) the thread has the CPUs %s, want %s", err, after, all)
	}
}

// helperOutput returns the line of a helper's /proc/self/status that begins with a word.
func helperOutput(t *testing.T, s *Spawner, word string) string {
	t.Helper()
	cmd := exec.Command("/bin/grep", word, "/proc/self/status")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := s.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	s.Release(cmd.Process.Pid)
	return strings.TrimSpace(out.String())
}

// TestMemoryPolicyIsRestored checks the same for the memory policy.
func TestMemoryPolicyIsRestored(t *testing.T) {
	topology, err := affinity.ReadTopology("/")
	if err != nil {
		t.Fatal(err)
	}
	perWorker, warnings := topology.MemoryNodes([]affinity.CPUSet{topology.Allowed})
	nodes := perWorker[0]
	if len(nodes) == 0 {
		nvmltest.Unavailable(t, strings.Join(warnings, "; "))
	}
	s := newSpawner(t)
	bound := func(spec *Spec) { spec.Memory, spec.MemoryNodes = affinity.MemoryBind, nodes[:1] }
	policy := []string{"/bin/head", "-n", "1", "/proc/self/numa_maps"}
	out, _, err := execute(t, s, bound, nil, policy...)
	if errors.Is(err, errors.ErrUnsupported) {
		nvmltest.Unavailable(t, err.Error())
	}
	if err != nil || !strings.Contains(out, " bind:") {
		t.Fatalf("the worker's memory policy is %q, want bind (%v)", out, err)
	}
	if out, _, err := execute(t, s, nil, nil, policy...); err != nil ||
		strings.Contains(out, " bind:") {
		t.Errorf("a later worker without a policy has %q (%v)", out, err)
	}
}

// TestStartWithoutItsGroup checks that a worker is started even if the kernel does not start it in
// its control group: in a folder that is no control group (clone3(2), EBADF) and in a group that
// has been removed. A program that is missing is an error all the same.
func TestStartWithoutItsGroup(t *testing.T) {
	s := newSpawner(t)
	groups := map[string]*cgroup.Group{}
	g, err := cgroup.Make(t.TempDir(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	groups["a folder that is no control group"] = g
	if parent, _ := cgroup.Find(); parent != "" {
		if g, err := cgroup.Make(parent, func(string) {}); err == nil {
			if err := unix.Rmdir(g.Path); err != nil {
				t.Fatal(err)
			}
			groups["a group that has been removed"] = g
		}
	}
	for what, g := range groups {
		defer g.Close()
		within := func(spec *Spec) { spec.Cgroup = g }
		out, p, err := execute(t, s, within, nil, "/bin/echo", "started")
		if err != nil || out != "started\n" || !p.End().Status.OK() {
			t.Errorf("%s: the worker printed %q (%v)", what, out, err)
		}
		var failed *ExecError
		if _, _, err := execute(t, s, within, nil, "/no/such/program"); !errors.As(err, &failed) ||
			!errors.Is(err, unix.ENOENT) {
			t.Errorf("%s: a program that is missing leads to %v", what, err)
		}
	}
}
