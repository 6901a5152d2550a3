//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/probe"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

// newRunID is a name for a job that got none.
func newRunID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// newWatcher makes a client whose child is this very program and dies with it.
func newWatcher(library string, sup *supervisor.Supervisor) *probe.Watcher {
	w := probe.NewWatcher([]string{"/proc/self/exe", "gpu-probe", library})
	w.Start, w.Ended = sup.StartHelper, sup.HelperEnded
	return w
}

// newClient makes a client for a command that asks once or twice, and what ends it.
func newClient(library string) (c *probe.Client, closeClient func()) {
	sup := supervisor.New()
	c = probe.NewClient([]string{"/proc/self/exe", "gpu-probe", library})
	c.Start, c.Ended = sup.StartHelper, sup.HelperEnded
	return c, func() { c.Close(); sup.Close() }
}

// discover lists the GPUs for no longer than the limit.
func discover(ctx context.Context, c *probe.Client, library string, limit seconds) gpu.Inventory {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(limit))
	defer cancel()
	return probe.DiscoverWith(ctx, c, probe.Options{Library: library})
}

// visible applies the inherited CUDA_VISIBLE_DEVICES.
func visible(inv gpu.Inventory) gpu.Visible {
	value, set := os.LookupEnv("CUDA_VISIBLE_DEVICES")
	return inv.Visible(value, set)
}

// readMachine is everything that a plan depends on.
func readMachine(ctx context.Context, c *probe.Client, f *jobFlags) (plan.Machine, error) {
	inv := discover(ctx, c, f.library, f.gpuTimeout)
	m, err := machine.Read("", inv, visible(inv), f.options)
	if err != nil {
		err = fmt.Errorf("%w: --affinity=none", err)
	}
	return m, err
}

// newProbe is the child that keeps NVML open, see package gpu.
func newProbe() *cobra.Command {
	return &cobra.Command{
		Use: "gpu-probe LIBRARY", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return probe.ServeChild(probe.Options{Library: args[0]})
		},
	}
}
