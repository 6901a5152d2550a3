//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/gpulaunch/gpulaunch/affinity/capture"
	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/run"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

func newCapture() *cobra.Command {
	f := &cli.GPUFlags{}
	c := &cobra.Command{
		Use:   "capture FILE",
		Short: "Write what planning needs from this machine to an archive",
		Long: `Capture writes the topology of this machine and a description of its GPUs to
FILE, for gpulaunch plan --from FILE on any other machine. FILE is a .tar.gz
archive of the files below /sys and /proc that planning reads. It holds no
serial numbers, host names or network addresses, and made-up UUIDs replace those
of the GPUs.`,
		Example: `  gpulaunch capture machine.tar.gz
  gpulaunch plan --from machine.tar.gz --affinity=exclusive`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("capture needs the file to write: gpulaunch capture " +
					"machine.tar.gz")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := cli.FromEnvironment(c.Flags()); err != nil {
				return err
			}
			client, closeClient := run.NewClient(f.Library)
			defer closeClient()
			inv := run.Discover(context.Background(), client, *f)
			if err := plan.CheckLibrary(inv); err != nil {
				return err
			}
			return writeCapture(args[0], inv)
		},
	}
	f.RegisterGPU(c.Flags())
	return c
}

// writeCapture writes all or nothing.
func writeCapture(path string, inv gpu.Inventory) error {
	document, err := json.MarshalIndent(anonymous(inv), "", "  ")
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	if err := capture.Write(&archive, "", document); err != nil {
		return err
	}
	if err := os.WriteFile(path, archive.Bytes(), 0o600); err != nil {
		return fmt.Errorf("cannot write the capture: %w", err)
	}
	return nil
}

// anonymous leaves out of an inventory what names one machine, or its users.
func anonymous(inv gpu.Inventory) gpu.Inventory {
	inv.LibraryProblem = ""
	inv.Library, inv.Reason = "", "captured with the source "+inv.Source // paths tell who uses them
	devices := make([]gpu.Device, len(inv.Devices))
	for i, d := range inv.Devices {
		d.UUID, d.Processes = madeUpUUID("GPU", i, 0), nil
		if d.Problem != "" {
			d.Problem = "not usable when it was captured"
		}
		findings := make([]gpu.Finding, len(d.Findings))
		for j, f := range d.Findings {
			findings[j] = gpu.Finding{Code: f.Code, Text: f.Code}
		}
		d.Findings = findings
		instances := make([]gpu.MIGInstance, len(d.MIGInstances))
		for j, m := range d.MIGInstances {
			m.UUID = madeUpUUID("MIG", i, j+1)
			instances[j] = m
		}
		d.MIGInstances = instances
		devices[i] = d
	}
	inv.Devices = devices
	return inv
}
