package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// HealthMode says what to do with a GPU that has a gpu.Finding. A finding that is tolerable
// (gpu.Finding.Tolerable) is only warned about, with HealthSkip and HealthFail as well.
//
// In no mode does a worker get a GPU that is lost, that cannot be opened, or that admits no process
// (compute mode prohibited).
type HealthMode string

const (
	// HealthWarn uses the GPU and warns about the finding.
	HealthWarn HealthMode = "warn"
	// HealthSkip leaves the GPU out. If no GPU is left, that is an error. The job does not run on
	// CPUs instead.
	HealthSkip HealthMode = "skip"
	// HealthFail makes it an error if a worker would get the GPU, or if no worker can, whatever
	// the reason: it may be lost, it may not be possible to open it, or it may be in MIG mode
	// without an instance.
	HealthFail HealthMode = "fail"
	// HealthOff uses the GPU without a warning.
	HealthOff HealthMode = "off"
)

// ParseHealthMode reads "warn", "skip", "fail" or "off".
func ParseHealthMode(s string) (HealthMode, error) {
	switch m := HealthMode(s); m {
	case HealthWarn, HealthSkip, HealthFail, HealthOff:
		return m, nil
	}
	return "", fmt.Errorf("invalid health policy %q: use warn, skip, fail or off", s)
}

// excludeUnfit moves the GPUs that no worker may get from the usable ones to the unusable ones.
func (m Machine) excludeUnfit(o Options) (Machine, error) {
	if o.Workers.cpuOnly() {
		return m, nil
	}
	all := m.Visible.Units
	m.Visible.Units, m.Visible.Unusable = nil, slices.Clone(m.Visible.Unusable)
	skipped := false
	for _, u := range all {
		d, usable, byChoice := o.judge(u)
		if usable {
			m.Visible.Units = append(m.Visible.Units, u)
			continue
		}
		skipped = skipped || byChoice
		same := func(e gpu.Device) bool { return e.Index == d.Index && e.Problem == d.Problem }
		// The instances of a GPU share its health, so the GPU is listed once.
		if !slices.ContainsFunc(m.Visible.Unusable, same) {
			m.Visible.Unusable = append(m.Visible.Unusable, d)
		}
	}
	if skipped && len(m.Visible.Units) == 0 {
		return m,
			fmt.Errorf("no GPU is left: %s; use %s to use them nevertheless, or "+
				"--nproc-per-node=cpu for CPUs",
				strings.TrimPrefix(m.unusable(), ", "), o.flagsToUseAll())
	}
	return m, nil
}

// judge reports whether a worker may get the unit. If not, the device's Problem says why, and
// byChoice is true if it is because of the user's options.
func (o Options) judge(u gpu.Unit) (d gpu.Device, usable, byChoice bool) {
	d = u.Device
	for _, f := range u.Device.Findings {
		byChoice = o.Health == HealthSkip && !f.Tolerable()
		if byChoice || f.Code == gpu.CodeComputeProhibited {
			d.Problem, d.Findings = f.Text, []gpu.Finding{f}
			return d, false, byChoice
		}
	}
	if o.Busy == BusySkip && len(processesOn(u)) > 0 {
		d.Problem, d.Findings = inUse(u), nil
		return d, false, true
	}
	return d, true, false
}

// flagsToUseAll returns the flags with which no GPU is left out.
func (o Options) flagsToUseAll() string {
	var flags []string
	if o.Health == HealthSkip {
		flags = append(flags, "--health=warn")
	}
	if o.Busy == BusySkip {
		flags = append(flags, "--busy=warn")
	}
	return strings.Join(flags, " and ")
}

// healthWarnings returns a warning for each finding of the units. With HealthFail, it is an error if
// one of them is not tolerable, or if a GPU is not usable at all.
func (m Machine) healthWarnings(o Options, units []gpu.Unit) (list []string, err error) {
	if o.Health == HealthOff {
		return nil, nil
	}
	var reasons []string
	if o.Health == HealthFail { // in other modes, warnings names them
		for _, d := range m.Visible.Unusable {
			reasons = append(reasons, findingLines(d)...)
		}
	}
	for _, u := range units {
		for _, f := range u.Device.Findings {
			line, to := findingLine(u.Device, f), &list
			if o.Health == HealthFail && !f.Tolerable() {
				to = &reasons
			}
			if !slices.Contains(*to, line) { // the instances of a GPU share its health
				*to = append(*to, line)
			}
		}
	}
	if len(reasons) > 0 {
		return nil, fmt.Errorf("nothing is started, because of --health=fail: %s",
			strings.Join(reasons, "; "))
	}
	return list, nil
}

// findingLines describes why a GPU is not usable: its findings or, without any, its problem.
func findingLines(d gpu.Device) (lines []string) {
	for _, f := range d.Findings {
		lines = append(lines, findingLine(d, f))
	}
	if lines == nil {
		lines = []string{fmt.Sprintf("%s is not usable: %s", d.Label(), d.Problem)}
	}
	return lines
}

func findingLine(d gpu.Device, f gpu.Finding) string {
	return fmt.Sprintf("%s: %s; %s", d.Label(), f.Text, f.Remedy)
}

// deviceWarnings returns the warnings about findings and other processes on the GPUs that are used,
// and about checks that were not possible.
func (m Machine) deviceWarnings(o Options, units []gpu.Unit) ([]string, error) {
	if o.Workers.cpuOnly() {
		return nil, nil
	}
	list, err := m.healthWarnings(o, units)
	if err != nil {
		return nil, err
	}
	busy, err := busyWarnings(o, units)
	if err != nil {
		return nil, err
	}
	list = append(list, busy...)
	if len(units) > 0 && m.Inventory.Source != gpu.SourceNVML {
		if o.Health == HealthSkip || o.Health == HealthFail {
			list = append(list,
				fmt.Sprintf("--health=%s has no effect: only NVML knows the health of GPUs",
					o.Health))
		}
		if o.Busy != BusyWarn {
			list = append(list,
				fmt.Sprintf("--busy=%s has no effect: only NVML knows the processes on GPUs",
					o.Busy))
		}
	}
	return list, nil
}
