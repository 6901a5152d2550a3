package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// HealthMode says what becomes of a GPU that has a gpu.Finding. Every finding counts,
// because what waits for a reset, such as a memory row that is to be remapped, may fail
// before it.
//
// Whatever the mode, no worker gets a GPU that is lost or that admits nobody (compute mode
// prohibited).
type HealthMode string

const (
	// HealthWarn uses the GPU and says what is wrong.
	HealthWarn HealthMode = "warn"
	// HealthSkip leaves the GPU out. If none is left, that is an error rather than a
	// reason to run on CPUs.
	HealthSkip HealthMode = "skip"
	// HealthFail makes it an error if a worker would get the GPU, or if no worker can.
	HealthFail HealthMode = "fail"
	// HealthOff says nothing.
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

// excludeUnfit moves the GPUs that no worker is to get to the unusable ones.
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
		// the instances of a GPU share its health
		if !slices.ContainsFunc(m.Visible.Unusable, same) {
			m.Visible.Unusable = append(m.Visible.Unusable, d)
		}
	}
	if skipped && len(m.Visible.Units) == 0 {
		return m,
			fmt.Errorf("no GPU is left: %s; use %s to use them nevertheless, or "+
				"--nproc-per-node=cpu for CPUs",
				strings.TrimPrefix(m.unusable(), ", "), o.usingAll())
	}
	return m, nil
}

// judge reports whether a worker may get the unit. If not, the device's Problem says why,
// and byChoice whether the user's options are the reason.
func (o Options) judge(u gpu.Unit) (d gpu.Device, usable, byChoice bool) {
	d = u.Device
	for _, f := range u.Device.Findings {
		if byChoice = o.Health == HealthSkip; byChoice || f.Code == gpu.CodeComputeProhibited {
			d.Problem, d.Findings = f.Text, []gpu.Finding{f}
			return d, false, byChoice
		}
	}
	if o.Busy == BusySkip && len(usersOf(u)) > 0 {
		d.Problem, d.Findings = inUse(u), nil
		return d, false, true
	}
	return d, true, false
}

// usingAll gives the flags with which nothing is left out.
func (o Options) usingAll() string {
	var flags []string
	if o.Health == HealthSkip {
		flags = append(flags, "--health=warn")
	}
	if o.Busy == BusySkip {
		flags = append(flags, "--busy=warn")
	}
	return strings.Join(flags, " and ")
}

// healthWarnings says what is wrong with the GPUs that are used.
func (m Machine) healthWarnings(o Options, units []gpu.Unit) (list []string, err error) {
	if o.Health == HealthOff || o.Health == HealthSkip {
		return nil, nil
	}
	var devices []gpu.Device
	if o.Health == HealthFail { // a warning names these anyway
		devices = slices.Clone(m.Visible.Unusable)
	}
	for _, u := range units {
		devices = append(devices, u.Device)
	}
	for _, d := range devices {
		for _, f := range d.Findings {
			line := fmt.Sprintf("%s: %s; %s", d.Label(), f.Text, f.Remedy)
			if !slices.Contains(list, line) { // the instances of a GPU share its health
				list = append(list, line)
			}
		}
	}
	if o.Health == HealthFail && len(list) > 0 {
		return nil, fmt.Errorf("nothing is started, because of --health=fail: %s",
			strings.Join(list, "; "))
	}
	return list, nil
}

// concerns lists what speaks against the GPUs that are used, and what could not be found
// out.
func (m Machine) concerns(o Options, units []gpu.Unit) ([]string, error) {
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
