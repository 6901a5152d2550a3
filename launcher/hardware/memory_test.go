//go:build linux

package hardware

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// held is how many bytes a worker allocates. A CUDA context needs much less.
const held = 512 << 20

// allocated makes fake GPUs show the memory that workers hold. Real GPUs do so by themselves.
func (r rig) allocated(list []report) {
	if r.showAllocated != nil {
		r.showAllocated(list)
	}
}

// memoryAppears wants the memory and the processes of workers to appear in the metrics of their
// GPUs and in gpulaunch devices.
func memoryAppears(t *testing.T, r rig) error {
	if r.python == "" {
		return errNoPython
	}
	n, err := r.gpuWorkers(t)
	if err != nil {
		return err
	}
	j, url := r.run(t, script(t, "driver_worker.py"), "hold", strconv.Itoa(held))
	j.Await(n, `ready (\d+)`)
	var before figures
	err = r.retry(func() (err error) {
		if before, err = r.figures(url); err == nil && len(before) == 0 {
			err = errNoFigures
		}
		return err
	})
	if err != nil {
		return err
	}
	j.Signal(unix.SIGUSR1) // gpulaunch passes it on to the workers
	list, err := reports(t, j, n)
	if err != nil {
		return err
	}
	r.allocated(list)
	err = r.retry(func() error {
		after, err := r.figures(url)
		for _, rep := range list {
			err = errors.Join(err, checkGrown(rep, before, after))
		}
		return err
	})
	if err == nil {
		err = r.retry(func() error { return r.checkListed(t, list, url, before) })
	}
	return errors.Join(err, stop(j))
}

// checkGrown wants the memory in use of a GPU to have grown by what its worker has allocated.
func checkGrown(rep report, before, after figures) error {
	const series = "memory_used_bytes"
	was, had := before[rep.UUID][series]
	is, have := after[rep.UUID][series]
	if !had || !have {
		return fmt.Errorf("the metrics have no %s of %s", series, rep.UUID)
	}
	if is-was < float64(rep.Bytes) {
		return fmt.Errorf("rank %d holds %d bytes of %s, but %s went from %.0f to %.0f",
			rep.Rank, rep.Bytes, rep.UUID, series, was, is)
	}
	return nil
}

// checkListed wants each worker to be one of the processes of its GPU.
func (r rig) checkListed(t *testing.T, list []report, url string, before figures) error {
	ours, err := r.processes(t)
	if err != nil {
		return err
	}
	smi, err := r.smiProcesses()
	if err != nil {
		return err
	}
	after, err := r.figures(url)
	if err != nil {
		return err
	}
	for _, rep := range list {
		c := computeProcesses{
			pid: rep.PID, ours: ours[rep.UUID], smi: smi[rep.UUID],
			before: before[rep.UUID]["compute_processes"],
			after:  after[rep.UUID]["compute_processes"], isolated: isolated(),
		}
		note, err := c.check()
		if err != nil {
			return fmt.Errorf("rank %d on %s: %w", rep.Rank, rep.UUID, err)
		}
		if note != "" {
			t.Logf("rank %d: %s", rep.Rank, note)
		}
	}
	return nil
}

// computeProcesses are the processes that compute on a worker's GPU, according to three sources.
type computeProcesses struct {
	pid           int     // the worker's
	ours, smi     []int   // according to gpulaunch devices and to nvidia-smi
	before, after float64 // how many, according to gpulaunch_gpu_compute_processes
	isolated      bool    // whether the worker is in a PID namespace of its own
}

// check wants gpulaunch to list and count the worker. In a PID namespace of its own, the worker may
// have another pid in the driver's list, or may not be in it. Then gpulaunch must say the same as
// nvidia-smi, and note says what that is.
func (c computeProcesses) check() (note string, err error) {
	if slices.Contains(c.ours, c.pid) && c.after >= c.before+1 {
		return "", nil
	}
	slices.Sort(c.ours)
	slices.Sort(c.smi)
	if c.isolated && slices.Equal(c.ours, c.smi) && c.after == float64(len(c.smi)) {
		return fmt.Sprintf("in this PID namespace NVML lists the processes %v for pid %d, "+
			"and so does nvidia-smi", c.ours, c.pid), nil
	}
	return "", fmt.Errorf("pid %d: gpulaunch devices lists %v, nvidia-smi lists %v, "+
		"and compute_processes went from %.0f to %.0f", c.pid, c.ours, c.smi, c.before, c.after)
}

// isolated reports whether this process is not in the initial PID namespace, whose inode number is
// fixed (PROC_PID_INIT_INO in the kernel's include/linux/proc_ns.h).
func isolated() bool {
	name, err := os.Readlink("/proc/self/ns/pid")
	return err != nil || name != "pid:[4026531836]"
}

// processes returns the pids that gpulaunch devices lists, by the UUID of the GPU or MIG instance.
func (r rig) processes(t *testing.T) (map[string][]int, error) {
	inv, err := r.inventory(t)
	pids := map[string][]int{}
	for _, d := range inv.Devices {
		for _, p := range d.Processes {
			uuid := d.UUID
			if p.MIG != "" {
				uuid = p.MIG
			}
			pids[uuid] = append(pids[uuid], p.PID)
		}
	}
	return pids, err
}

// smiProcesses returns the pids that nvidia-smi lists, by the UUID of the GPU.
func (r rig) smiProcesses() (map[string][]int, error) {
	rows, err := r.query("compute-apps", "gpu_uuid", "pid")
	if err != nil {
		return nil, err
	}
	pids := map[string][]int{}
	for _, row := range rows {
		pid, err := strconv.Atoi(row["pid"])
		if err != nil {
			return nil, fmt.Errorf("nvidia-smi lists a process with the pid %q", row["pid"])
		}
		pids[row["gpu_uuid"]] = append(pids[row["gpu_uuid"]], pid)
	}
	return pids, nil
}

// nothingLeft stops a worker that keeps its GPU busy, and wants the GPU to be as it was before. how
// is what the worker does at SIGTERM: die or ignore.
func nothingLeft(how string) func(*testing.T, rig) error {
	return func(t *testing.T, r rig) error {
		if r.python == "" {
			return errNoPython
		}
		before, err := r.usage(t)
		if err != nil {
			return err
		}
		j, _ := r.run(t, "--nproc-per-node=1", "--grace=1s", script(t, "driver_worker.py"),
			"loop", strconv.Itoa(held), how)
		list, err := reports(t, j, 1)
		if err != nil {
			return err
		}
		rep := list[0]
		r.allocated(list)
		if err := stop(j); err != nil {
			return err
		}
		launchertest.Gone(t, strconv.Itoa(rep.PID))
		r.allocated(nil)
		return r.retry(func() error {
			after, err := r.usage(t)
			if err != nil {
				return err
			}
			return checkFreed(rep, before, after)
		})
	}
}

// usage describes what uses the GPUs of the machine.
type usage struct {
	pids   map[string][]int  // by the UUID of the GPU or MIG instance
	memory map[string]uint64 // in MiB, by the UUID of the GPU
	gpu    map[string]string // the UUID of the GPU, by the UUID of the MIG instance
}

func (r rig) usage(t *testing.T) (u usage, err error) {
	rows, err := r.query("gpu", "uuid", "memory.used")
	if err != nil {
		return u, err
	}
	inv, err := r.inventory(t)
	if err != nil {
		return u, err
	}
	u.pids, err = r.processes(t)
	u.memory, u.gpu = map[string]uint64{}, map[string]string{}
	for _, row := range rows {
		if n, ok := row.number("memory.used"); ok {
			u.memory[row["uuid"]] = uint64(n)
		}
	}
	for _, d := range inv.Devices {
		for _, m := range d.MIGInstances {
			u.gpu[m.UUID] = d.UUID
		}
	}
	return u, err
}

// checkFreed wants a worker that has ended to have left nothing on its GPU.
func checkFreed(rep report, before, after usage) error {
	was, is := before.pids[rep.UUID], after.pids[rep.UUID]
	if slices.Contains(is, rep.PID) || len(is) > len(was) {
		return fmt.Errorf("pid %d has ended, but %s has the processes %v, and had %v before",
			rep.PID, rep.UUID, is, was)
	}
	gpu := rep.UUID
	if parent := after.gpu[gpu]; parent != "" {
		gpu = parent
	}
	const slack = 64 // MiB that the driver may keep
	if after.memory[gpu] > before.memory[gpu]+slack {
		return fmt.Errorf("pid %d has ended, but %d MiB of %s are in use, and %d MiB were before",
			rep.PID, after.memory[gpu], gpu, before.memory[gpu])
	}
	return nil
}
