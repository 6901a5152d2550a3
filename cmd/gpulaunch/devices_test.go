//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// listed returns what gpulaunch devices prints for a fake machine.
func listed(t *testing.T, m nvmltest.Machine, args ...string) string {
	t.Helper()
	j := launchertest.Start(t, nil,
		append([]string{"devices", "--nvml-library=" + nvmltest.Install(t, m)}, args...)...)
	if code, stderr := j.Exit(); code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	stdout, _ := j.Output()
	return stdout
}

func eightGPUs(t *testing.T) nvmltest.Machine {
	node0, node1 := nodes(t)
	return nvmltest.EightGPUs(words(node0), words(node1))
}

// row returns the line of a table that begins with a GPU's index.
func row(t *testing.T, table string, index int) string {
	t.Helper()
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[0] == fmt.Sprint(index) {
			return strings.TrimSuffix(line, "\n")
		}
	}
	t.Fatalf("no GPU %d in:\n%s", index, table)
	return ""
}

func TestDevices(t *testing.T) {
	m := eightGPUs(t)
	table := listed(t, m)
	for i := range 8 {
		want := fmt.Sprintf("H100 80GB HBM3 GPU-%08x %02x:00.0", 0xa0000000+i, m.Devices[i].Bus)
		line := strings.Join(strings.Fields(row(t, table, i)), " ")
		if !strings.Contains(line, want) ||
			!strings.HasSuffix(line, fmt.Sprintf(" %d.0/80.0 GiB 0 ok", 3*(i+1))) {
			t.Errorf("GPU %d: %s", i, line)
		}
	}
	_, rows, _ := strings.Cut(table, "\n\n")
	for line := range strings.Lines(rows) {
		if len(line) > 81 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	wide := row(t, listed(t, m, "--wide"), 7)
	for _, want := range []string{"NVIDIA H100 80GB HBM3", m.Devices[7].UUID, "0000:df:00.0"} {
		if !strings.Contains(wide, want) {
			t.Errorf("--wide lacks %s: %s", want, wide)
		}
	}
	if strings.Contains(table, "\x1b") {
		t.Error("colours, and no terminal")
	}
}

// TestDevicesProcesses has two processes on GPU 1: this test, and one that cannot be seen from here
// and has a secret in its arguments.
func TestDevicesProcesses(t *testing.T) {
	m := eightGPUs(t).WithDevice(1, func(d *nvmltest.Device) {
		d.Processes = []nvmltest.Process{
			{PID: uint32(os.Getpid()), Used: 3 << 29, GPUInstance: nvmltest.NoInstance,
				ComputeInstance: nvmltest.NoInstance},
			{PID: 1 << 30, Used: nvmltest.UnknownMemory, GPUInstance: nvmltest.NoInstance,
				ComputeInstance: nvmltest.NoInstance, Name: "/opt/\x1b[31mtrain --token=hidden"},
		}
	})
	table := listed(t, m)
	if !strings.HasSuffix(row(t, table, 1), "2  ok") ||
		!strings.HasSuffix(row(t, table, 0), "0  ok") {
		t.Errorf("wrong counts:\n%s", table)
	}
	// Outside of the first PID namespace, a process is only named if it is seen to have a GPU open.
	if !strings.Contains(table, fmt.Sprintf("     pid %-7d  ", os.Getpid())) ||
		!strings.Contains(table, "  1.5 GiB\n") {
		t.Errorf("this process is not named:\n%s", table)
	}
	if !strings.Contains(table, "pid 1073741824  ") ||
		!strings.Contains(table, "train (not visible from here)\n") {
		t.Errorf("the unseen process is not named:\n%s", table)
	}
	for _, never := range []string{"-test.", "token", "\x1b"} {
		if strings.Contains(table, never) {
			t.Errorf("%q is told:\n%s", never, table)
		}
	}
}

func TestDevicesMIG(t *testing.T) {
	table := listed(t, eightGPUs(t).MIG(2))
	for _, want := range []string{
		"     MIG 3g.40gb   1.0/40.0 GiB    MIG-00000002-aaaa-bbbb-cccc-000000000001\n       pid " +
			"4001 ",
		"     MIG 1g.10gb   2.0/10.0 GiB    MIG-00000002-aaaa-bbbb-cccc-000000000003\n       pid " +
			"4002 ",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in:\n%s", want, table)
		}
	}
	empty := eightGPUs(t).MIG(2).WithDevice(2, func(d *nvmltest.Device) { d.Instances = nil })
	if table := listed(t, empty); !strings.HasSuffix(row(t, table, 2), "  unusable") ||
		!strings.Contains(table, "     ! MIG is enabled but no instance exists\n") {
		t.Errorf("MIG without instances:\n%s", table)
	}
}

func TestDevicesHealth(t *testing.T) {
	sick := eightGPUs(t).LostGPU(3).WithDevice(5, func(d *nvmltest.Device) {
		d.Health.ECC = &nvmltest.ECC{VolatileUncorrected: 7}
		d.Health.RemappedRows = &nvmltest.RemappedRows{Pending: true}
	})
	table := listed(t, sick)
	if !strings.HasSuffix(row(t, table, 3), "  lost") ||
		!strings.HasSuffix(row(t, table, 5), "  ecc-uncorrected +1") ||
		!strings.HasSuffix(row(t, table, 4), "  ok") {
		t.Errorf("wrong health:\n%s", table)
	}
	for _, want := range []string{"     ! 7 uncorrectable memory errors",
		"       do: end what uses it, then nvidia-smi --gpu-reset -i 0000:c3:00.0", "power-cycle"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in:\n%s", want, table)
		}
	}
}

// TestDevicesFigures lists a GPU whose memory in use cannot be read.
func TestDevicesFigures(t *testing.T) {
	m := eightGPUs(t).With(nvmltest.Behavior{Function: "nvmlDeviceGetUtilizationRates", Device: 0,
		Action: nvmltest.Hang})
	table := listed(t, m, "--gpu-timeout=2s")
	if line := row(t, table, 0); !strings.HasSuffix(line, " 80.0 GiB      0  ok") {
		t.Errorf("%q in:\n%s", line, table)
	}
}

// hostile returns a machine with names that a terminal would obey.
func hostile() gpu.Inventory {
	return gpu.Inventory{Source: gpu.SourceNVML, Reason: "a\x1b[2Jb", DriverVersion: "1\n2",
		Devices: []gpu.Device{{
			Name: "x\x1b]0;owned\x07\u202e", UUID: "GPU-aaaa\n", PCIBusID: "0001:1b:00.0",
			Problem: "gone\r",
			Processes: []gpu.Process{{PID: 1, User: "\x1bc", Command: "a\tb", Visible: true},
				{PID: 2, MIG: "MIG-\x9b", Command: "\x07"}},
			MIGInstances: []gpu.MIGInstance{{UUID: "MIG-\x9b", Profile: "\x1b"}},
			Findings:     []gpu.Finding{{Code: gpu.CodeLost, Text: "\x1b[1m", Remedy: "\x7f"}},
		}}}
}

func TestDevicesEscapes(t *testing.T) {
	var b strings.Builder
	if err := printDevices(&b, deviceTable{inv: hostile()}); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.String() {
		if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x202e) {
			t.Errorf("%U is printed: %q", r, b.String())
		}
	}
	if lines := strings.Count(b.String(), "\n"); lines != 10 {
		t.Errorf("%d lines, want 10:\n%s", lines, b.String())
	}
}

func TestDevicesTerminal(t *testing.T) {
	inv := gpu.Inventory{Source: gpu.SourceNVML, Devices: []gpu.Device{
		{Index: 0, Name: "NVIDIA A Card With A Name That Is Longer Than Any Other",
			UUID: "GPU-aaaaaaaa-1", PCIBusID: "0000:01:00.0"},
		{Index: 1, Name: "NVIDIA T4", UUID: "GPU-aaaaaaaa-2", PCIBusID: "0000:02:00.0",
			Findings: []gpu.Finding{{Code: gpu.CodeLost}}},
	}}
	text := deviceTable{inv: inv, style: terminal.Style{Width: 70, Color: true}}.String()
	for _, want := range []string{"GPU-aaaaaaaa-1 ", "GPU-aaaaaaaa-2 ", " \x1b[32mok\x1b[0m\n",
		" \x1b[31mlost\x1b[0m\n", "…"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if n := terminal.Width(strings.TrimSuffix(line, "\n")); n > 70 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if files := (deviceTable{inv: gpu.Inventory{Source: gpu.SourceDriver,
		Devices: inv.Devices[:1]}}).String(); !strings.HasSuffix(files,
		"  -           -  unknown\n") {
		t.Errorf("health that nobody told is taken for good:\n%s", files)
	}
}
