//go:build linux && !nonvml

package probe

import (
	"errors"
	"fmt"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml"
)

// checkHealth adds a finding for everything that is wrong with the GPU. A question that the GPU
// does not answer adds none.
func (g *nvmlGPU) checkHealth() {
	if g.attached && g.goneError == nil {
		g.checkMemory()
		g.checkFabric()
		g.checkMode()
		g.checkClocks()
		g.checkRecovery()
	}
	if g.openError != nil && g.goneError == nil {
		g.addFinding(gpu.CodeInaccessible, g.device.Problem, g.openRemedy())
	}
	if g.goneError != nil { // then nothing else matters
		g.device.Findings = nil
		g.addFinding(goneCode(g.goneError), g.device.Problem, g.goneRemedy())
	}
}

func (g *nvmlGPU) addFinding(code, text, remedy string) {
	f := gpu.Finding{Code: code, Text: text, Remedy: remedy}
	g.device.Findings = append(g.device.Findings, f)
}

func goneCode(err error) string {
	if errors.Is(err, nvml.ErrResetRequired) {
		return gpu.CodeResetRequired
	}
	return gpu.CodeLost
}

func (g *nvmlGPU) goneRemedy() string {
	if errors.Is(g.goneError, nvml.ErrResetRequired) {
		return g.resetRemedy()
	}
	return gpu.RemedyLost
}

// openRemedy says what to do about a GPU that cannot be opened.
func (g *nvmlGPU) openRemedy() string {
	file := "/dev/nvidia*"
	if g.device.Minor != nil {
		file = fmt.Sprintf("/dev/nvidia%d", *g.device.Minor)
	}
	switch {
	case errors.Is(g.openError, nvml.ErrNoPermission),
		errors.Is(g.openError, nvml.ErrOperatingSystem):
		return "check the permissions of " + file +
			", and whether the container or the job's cgroup admits it"
	case errors.Is(g.openError, nvml.ErrInsufficientPower):
		return "attach the card's power cables properly"
	case errors.Is(g.openError, nvml.ErrIRQIssue):
		return "look for the interrupt in the kernel's log (dmesg), then reboot; if it happens " +
			"again, try another slot or the firmware's interrupt settings"
	}
	return "look for NVRM and Xid in the kernel's log (dmesg), and see what nvidia-smi -q -i " +
		g.smiName() + " says"
}

// resetRemedy says how to reset the GPU.
func (g *nvmlGPU) resetRemedy() string {
	return "end what uses it, then nvidia-smi --gpu-reset -i " + g.smiName() + ", or reboot"
}

// smiName returns a name of the GPU for nvidia-smi -i. The address is preferred, because unlike
// nvidia-smi's index it does not change.
func (g *nvmlGPU) smiName() string {
	for _, name := range []string{g.device.PCIBusID, g.device.UUID} {
		if name != "" {
			return name
		}
	}
	return "<its index>"
}

func (g *nvmlGPU) checkMemory() {
	if n := g.uncorrectedErrors(); n > 0 {
		text := fmt.Sprintf("%d uncorrectable memory errors since the last reset", n)
		g.addFinding(gpu.CodeECCUncorrected, text, g.resetRemedy())
	}
	if exceeded, err := g.handle.SRAMThresholdExceeded(); g.answered(err) && exceeded {
		g.addFinding(gpu.CodeSRAMThreshold,
			"the SRAM has had more uncorrectable errors than the field diagnostics tolerates",
			"have the card tested and replaced")
	}
	g.checkRows()
	if pending, err := g.handle.RetiredPagesPending(); g.answered(err) && pending {
		const text = "bad memory pages wait to be retired"
		g.addFinding(gpu.CodeRetiredPagesPending, text, g.resetRemedy())
	}
}

// checkRows looks at the memory rows that were replaced by spare ones, or have to be.
func (g *nvmlGPU) checkRows() {
	if rows, err := g.handle.RemappedRows(); g.answered(err) {
		count := fmt.Sprintf(
			"%d remapped so far after uncorrectable and %d after correctable errors",
			rows.Uncorrected, rows.Corrected)
		if rows.Pending {
			text := "a bad memory row waits to be remapped, " + count
			g.addFinding(gpu.CodeRowRemapPending, text,
				"the GPU may go on taking work; when convenient, "+g.resetRemedy())
		}
		if rows.Failed {
			text := "a bad memory row could not be remapped, " + count
			g.addFinding(gpu.CodeRowRemapFailed, text, "have the card tested and replaced")
		}
	}
	if rows, err := g.handle.SpareRows(); g.answered(err) && rows.None > 0 {
		total := rows.All + rows.High + rows.Partial + rows.Low + rows.None
		g.addFinding(gpu.CodeSpareRowsExhausted,
			fmt.Sprintf("%d of %d memory banks have no spare row left", rows.None, total),
			"the next bad row there cannot be remapped: have the card tested and replaced")
	}
}

// uncorrectedErrors returns 0 if the number is unknown. In MIG mode only the instances have
// counters.
func (g *nvmlGPU) uncorrectedErrors() uint64 {
	total, err := g.handle.UncorrectedECCErrors()
	if g.answered(err) {
		return total
	}
	for _, instance := range g.instances {
		if n, err := instance.UncorrectedSRAMErrors(); g.answered(err) {
			total += n
		}
	}
	return total
}

func (g *nvmlGPU) checkFabric() {
	info, err := g.handle.Fabric()
	if !g.answered(err) {
		return
	}
	const remedy = "check that nvidia-fabricmanager runs and has the driver's version " +
		"(systemctl status nvidia-fabricmanager), and read its log"
	broken, limited := info.Mask.Problems()
	var text string
	code := gpu.CodeFabricNotReady
	switch {
	case info.State == nvml.FabricNotStarted:
		text = "joining the NVSwitch fabric has not started"
	case info.State == nvml.FabricInProgress:
		text = "joining the NVSwitch fabric is still in progress"
	case info.State == nvml.FabricCompleted && info.Status != nvml.Success:
		text = "joining the NVSwitch fabric failed: " + errorText(info.Status)
	case info.State != nvml.FabricCompleted: // a GPU without a fabric
		return
	case info.Health == nvml.FabricUnhealthy || broken != "":
		text = "the NVSwitch fabric reports that the GPU is unhealthy" + after(": ", broken)
	case info.Health == nvml.FabricLimitedCapacity || limited != "":
		code = gpu.CodeFabricLimited
		text = "the NVSwitch fabric gives the GPU limited capacity" + after(": ", limited)
	default:
		return
	}
	g.addFinding(code, text, remedy)
}

// after returns text behind a separator, or "" if there is no text.
func after(separator, text string) string {
	if text == "" {
		return ""
	}
	return separator + text
}

// checkClocks looks whether the hardware holds the clocks down. The reason that stands for all
// hardware reasons may also be set while clocks change (nvml.h), as when the GPU becomes idle, so
// on an idle GPU only the particular reasons count.
func (g *nvmlGPU) checkClocks() {
	reasons, err := g.handle.ClockReasons()
	if !g.answered(err) {
		return
	}
	var why, remedy string
	switch {
	case reasons&nvml.ReasonHardwareThermal != 0:
		why, remedy = "it is too hot", "check the fans, the air flow and the room's temperature"
	case reasons&nvml.ReasonPowerBrake != 0:
		why, remedy = "the power supply asks for it (power brake)",
			"check the power supplies and the machine's power limit"
	case reasons&nvml.ReasonHardwareSlowdown != 0 && reasons&nvml.ReasonIdle == 0:
		why, remedy = "it is too hot or draws too much power",
			"check cooling and power supply: nvidia-smi -q -d PERFORMANCE,TEMPERATURE,POWER -i "+
				g.smiName()
	default:
		return
	}
	g.addFinding(gpu.CodeHardwareSlowdown, "the hardware slows the GPU down: "+why, remedy)
}

func (g *nvmlGPU) checkMode() {
	allow := "nvidia-smi -i " + g.smiName() + " --compute-mode=DEFAULT"
	exclusive := g.mode == nvml.ComputeExclusiveProcess || g.mode == nvml.ComputeExclusiveThread
	if g.mode == nvml.ComputeProhibited {
		g.addFinding(gpu.CodeComputeProhibited,
			"the compute mode is prohibited: nobody may use the GPU", "allow it with "+allow)
	}
	if exclusive && len(g.device.Processes) > 0 {
		text := fmt.Sprintf("the compute mode is %v and %v uses the GPU",
			g.mode, g.device.Processes[0])
		g.addFinding(gpu.CodeExclusiveAndBusy, text,
			"wait for that process to end, or let several share the GPU with "+allow)
	}
}

func (g *nvmlGPU) checkRecovery() {
	action, err := g.handle.RecoveryAction()
	if !g.answered(err) || action == nvml.RecoveryNone {
		return
	}
	text := fmt.Sprintf("the driver asks for a recovery action: %v", action)
	g.addFinding(gpu.CodeRecoveryAction, text, g.recoveryRemedy(action))
}

func (g *nvmlGPU) recoveryRemedy(action nvml.RecoveryAction) string {
	switch action {
	case nvml.RecoveryGPUReset, nvml.RecoveryBusReset, nvml.RecoveryDrainAndReset:
		return g.resetRemedy()
	case nvml.RecoveryNodeReboot, nvml.RecoverySystemReboot:
		return "reboot the machine"
	case nvml.RecoveryDrainP2P:
		return "end the jobs that use several GPUs, then check again"
	case nvml.RecoveryIMEXDomain:
		return "restart nvidia-imex on the nodes of the domain"
	}
	return "run nvidia-smi -q to see what this driver means by it"
}
