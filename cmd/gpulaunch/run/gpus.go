//go:build linux

package run

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/probe"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

// newWatcher makes a client whose child is this very program and dies with it.
func newWatcher(library string, sup *supervisor.Supervisor) *probe.Watcher {
	w := probe.NewWatcher([]string{"/proc/self/exe", "gpu-probe", library})
	w.Start, w.Ended = sup.StartHelper, sup.HelperEnded
	return w
}

// NewClient makes a client for a command that asks once or twice, and what ends it.
func NewClient(library string) (c *probe.Client, closeClient func()) {
	sup := supervisor.New()
	c = probe.NewClient([]string{"/proc/self/exe", "gpu-probe", library})
	c.Start, c.Ended = sup.StartHelper, sup.HelperEnded
	return c, func() { c.Close(); sup.Close() }
}

// Discover lists the GPUs for no longer than the flags allow.
func Discover(ctx context.Context, c *probe.Client, f cli.GPUFlags) gpu.Inventory {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(f.Timeout))
	defer cancel()
	return probe.DiscoverWith(ctx, c, probe.Options{Library: f.Library})
}

// Visible applies the inherited CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER.
func Visible(inv gpu.Inventory) gpu.Visible {
	value, set := os.LookupEnv("CUDA_VISIBLE_DEVICES")
	return inv.VisibleInOrder(value, set, os.Getenv("CUDA_DEVICE_ORDER"))
}

// ReadMachine completes what has been read of this machine with its GPUs.
func ReadMachine(ctx context.Context, r *machine.Reading, c *probe.Client,
	f *cli.PlanFlags) (plan.Machine, error) {
	inv := Discover(ctx, c, f.GPUFlags)
	m, err := r.Complete(inv, Visible(inv), f.Options)
	if err != nil {
		err = fmt.Errorf("%w: --affinity=none", err)
	}
	return m, err
}

// watchGPUs has the job ask for the GPUs' figures and hear of XIDs, where NVML can tell and
// somebody wants to know. Otherwise the process that would is ended.
func (j *Job) watchGPUs(c *launcher.Config, gpus *probe.Watcher, m plan.Machine, p plan.Plan) {
	known := m.Inventory.Source == gpu.SourceNVML
	if j.onXID == "stop" && p.Mode == plan.ModeGPU && !known {
		j.out.say("warning: --on-xid=stop has no effect: only NVML tells of XIDs")
	}
	if !known || j.address == NoMetrics && p.Mode != plan.ModeGPU {
		gpus.Close()
		return
	}
	c.GPUs, c.Inventory = gpus, m.Inventory
}

// NewProbeCommand makes the subcommand for the child that keeps NVML open, see package probe.
func NewProbeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "gpu-probe LIBRARY", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return probe.ServeChild(probe.Options{Library: args[0]})
		},
	}
}
