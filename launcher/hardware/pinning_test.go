//go:build linux

package hardware

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

var errNoPython = skipped("there is no python3: install it")

// pythonWithCUDA returns an interpreter whose PyTorch can use the GPU, or "" if there is none.
var pythonWithCUDA = sync.OnceValue(func() string {
	return launchertest.FindPython("import torch; assert torch.cuda.is_available()")
})

// withTorch returns a rig with such an interpreter.
func (r rig) withTorch() (rig, error) {
	if r.python = pythonWithCUDA(); r.python == "" {
		return r, skipped("there is no Python that can import PyTorch with CUDA: " +
			"install one, or set PYTHON_EXEC")
	}
	return r, nil
}

// gpuWorkers returns how many workers a job gets, all of which must be on GPUs.
func (r rig) gpuWorkers(t *testing.T) (int, error) {
	p, err := r.plan(t)
	if err == nil && p.Mode != plan.ModeGPU {
		err = fmt.Errorf("no worker would get a GPU: %s", p.Reason)
	}
	return len(p.Workers), err
}

// eachPinned runs a worker on each GPU, and wants the CUDA driver to show it that GPU alone.
func eachPinned(t *testing.T, r rig) error {
	if r.python == "" {
		return errNoPython
	}
	n, err := r.gpuWorkers(t)
	if err != nil {
		return err
	}
	list, err := r.devices(t, n)
	if err != nil {
		return err
	}
	return r.checkAllPinned(t, list)
}

func (r rig) checkAllPinned(t *testing.T, list []report) error {
	inv, err := r.inventory(t)
	for _, rep := range list {
		err = errors.Join(err, checkPinned(rep, inv))
	}
	return err
}

// torchPinned does the same with workers that use PyTorch and allocate memory. flags are added to
// the job's flags.
func torchPinned(flags ...string) func(*testing.T, rig) error {
	return func(t *testing.T, r rig) error {
		r, err := r.withTorch()
		if err != nil {
			return err
		}
		n, err := r.gpuWorkers(t)
		if err != nil {
			return err
		}
		args := append(slices.Clone(flags), script(t, "torch_worker.py"), fmt.Sprint(held))
		j := launchertest.Start(t, r.jobEnv(), r.args("run", args...)...)
		list, err := reports(t, j, n)
		if err != nil {
			return err
		}
		return errors.Join(awaitSuccess(j), r.checkAllPinned(t, list))
	}
}

// trained matches what a rank of testdata/train.py prints.
var trained = regexp.MustCompile(`(?m)rank=(\d+) world=(\d+) params=(\w+) `)

// torchTrains runs a training with DistributedDataParallel, and with NCCL between the GPUs.
func torchTrains(t *testing.T, r rig) error {
	r, err := r.withTorch()
	if err != nil {
		return err
	}
	inv, err := r.inventory(t)
	if err != nil {
		return err
	}
	if isSplit(inv) {
		return skipped("NCCL does not work between MIG instances of one GPU")
	}
	n, err := r.gpuWorkers(t)
	if err != nil {
		return err
	}
	j := launchertest.Start(t, r.jobEnv(), r.args("run", script(t, "train.py"))...)
	if err := awaitSuccess(j); err != nil {
		return err
	}
	stdout, _ := j.Output()
	ranks := trained.FindAllStringSubmatch(stdout, -1)
	differs := func(m []string) bool { return m[2] != fmt.Sprint(n) || m[3] != ranks[0][3] }
	if len(ranks) != n || slices.ContainsFunc(ranks, differs) {
		return fmt.Errorf("%d ranks did not end with the same parameters: %s", n, stdout)
	}
	return nil
}

// preloadRefused wants gpulaunch to refuse preloaded modules that initialise CUDA.
func preloadRefused(t *testing.T, r rig) error {
	if r.python == "" {
		return errNoPython
	}
	modules := map[string]string{"opens_cuda": r.python}
	if python := pythonWithCUDA(); python != "" {
		modules["opens_torch_cuda"] = python
	}
	for module, python := range modules {
		r.python = python
		j := launchertest.Start(t, r.jobEnv(), r.args("run", "--start-method=forkserver",
			"--preload="+module, script(t, "driver_worker.py"), "look")...)
		code, stderr := j.Exit()
		if code != 125 || !strings.Contains(stderr, "initialised CUDA") {
			return fmt.Errorf("with --preload=%s the exit code is %d, "+
				"want 125 and a line about CUDA: %s", module, code, stderr)
		}
	}
	return nil
}

// noFilesLeak wants workers that do not use CUDA to have none of the driver's files open, with both
// start methods. As a negative control, it wants to find a worker that opens such a file.
func noFilesLeak(t *testing.T, r rig) error {
	if r.python == "" {
		return errNoPython
	}
	for _, method := range []string{"exec", "forkserver"} {
		targets, err := r.files(t, method)
		if err == nil {
			err = checkNoDriverFiles(targets)
		}
		if err != nil {
			return fmt.Errorf("with --start-method=%s: %w", method, err)
		}
	}
	if r.library != "" { // fake GPUs have no such files
		return nil
	}
	targets, err := r.files(t, "exec", "/dev/nvidiactl")
	if err == nil && checkNoDriverFiles(targets) == nil {
		err = fmt.Errorf("a worker that has /dev/nvidiactl open was not found: its files are %q",
			targets)
	}
	return err
}

// files returns the files that a worker has open, after it has opened some itself.
func (r rig) files(t *testing.T, method string, open ...string) (targets []string, err error) {
	args := append([]string{
		"--nproc-per-node=1", "--start-method=" + method, script(t, "driver_worker.py"), "files",
	}, open...)
	j, _ := r.run(t, args...)
	text := j.Await(1, `files (\[.*\])$`)[0]
	if err := awaitSuccess(j); err != nil {
		return nil, err
	}
	err = json.Unmarshal([]byte(text), &targets)
	if err == nil && len(targets) < 3 {
		err = fmt.Errorf("the worker lists the files %q, which are not even three", targets)
	}
	return targets, err
}

// sharing runs two workers on one GPU, workers that see all GPUs, and a worker on a GPU that
// CUDA_VISIBLE_DEVICES names in each of the possible ways.
func sharing(t *testing.T, r rig) error {
	if r.python == "" {
		return errNoPython
	}
	inv, err := r.inventory(t)
	if err != nil {
		return err
	}
	if len(inv.Devices) == 0 {
		return errors.New("there is no GPU")
	}
	for _, d := range inv.Devices {
		if d.MIG || !d.Usable() || d.ComputeMode != "default" {
			return skipped("GPU %d is in MIG mode, not usable, or in compute mode %q: "+
				"this needs GPUs that can be shared", d.Index, d.ComputeMode)
		}
	}
	return errors.Join(r.shareOne(t, inv), r.showAll(t, inv), r.nameOne(t, inv))
}

func (r rig) shareOne(t *testing.T, inv gpu.Inventory) error {
	uuid := inv.Devices[0].UUID
	r.env = append(slices.Clone(r.env), "CUDA_VISIBLE_DEVICES="+uuid)
	list, err := r.devices(t, 2, "--nproc-per-node=2", "--oversubscribe")
	for _, rep := range list {
		err = errors.Join(err, checkPinned(rep, inv), checkDevice(rep, 0, uuid, inv))
	}
	return err
}

func (r rig) showAll(t *testing.T, inv gpu.Inventory) error {
	list, err := r.devices(t, len(inv.Devices), "--visible=all")
	for _, rep := range list {
		if len(rep.Devices) != len(inv.Devices) {
			err = errors.Join(err, fmt.Errorf("rank %d sees %d of %d GPUs",
				rep.Rank, len(rep.Devices), len(inv.Devices)))
		}
		for i, d := range inv.Devices {
			err = errors.Join(err, checkDevice(rep, i, d.UUID, inv))
		}
		err = errors.Join(err, checkDevice(rep, rep.LocalRank, rep.UUID, inv))
	}
	return err
}

func (r rig) nameOne(t *testing.T, inv gpu.Inventory) (err error) {
	d := inv.Devices[len(inv.Devices)-1]
	for _, name := range []string{d.UUID, shortened(d.UUID, inv), fmt.Sprint(d.Index)} {
		one := r
		one.env = append(slices.Clone(r.env), "CUDA_VISIBLE_DEVICES="+name)
		list, e := one.devices(t, 1)
		for _, rep := range list {
			e = errors.Join(e, checkPinned(rep, inv), checkDevice(rep, 0, d.UUID, inv))
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("CUDA_VISIBLE_DEVICES=%s: %w", name, e))
		}
	}
	return err
}

// shortened returns the shortest beginning of a UUID that no other GPU's UUID has. It has at least
// eight digits.
func shortened(uuid string, inv gpu.Inventory) string {
	for n := len("GPU-") + 8; n < len(uuid); n++ {
		others := 0
		for _, d := range inv.Devices {
			if strings.HasPrefix(d.UUID, uuid[:n]) {
				others++
			}
		}
		if others == 1 {
			return uuid[:n]
		}
	}
	return uuid
}
