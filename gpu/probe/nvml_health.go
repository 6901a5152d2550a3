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
		g.checkRecovery()
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
	return "look for XID 79 in the kernel's log, then power-cycle the machine; " +
		"if it happens again, check the card's seat, cables and power"
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
	if rows, err := g.handle.RemappedRows(); g.answered(err) {
		count := fmt.Sprintf(
			"%d remapped so far after uncorrectable and %d after correctable errors",
			rows.Uncorrected, rows.Corrected)
		if rows.Pending {
			text := "a bad memory row waits to be remapped, " + count
			g.addFinding(gpu.CodeRowRemapPending, text, g.resetRemedy())
		}
		if rows.Failed {
			text := "a bad memory row could not be remapped, " + count
			g.addFinding(gpu.CodeRowRemapFailed, text, "have the card tested and replaced")
		}
	}
	if pending, err := g.handle.RetiredPagesPending(); g.answered(err) && pending {
		const text = "bad memory pages wait to be retired"
		g.addFinding(gpu.CodeRetiredPagesPending, text, g.resetRemedy())
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
	var text string
	switch {
	case info.State == nvml.FabricNotStarted:
		text = "joining the NVSwitch fabric has not started"
	case info.State == nvml.FabricInProgress:
		text = "joining the NVSwitch fabric is still in progress"
	case info.State == nvml.FabricCompleted && info.Status != nvml.Success:
		text = "joining the NVSwitch fabric failed: " + errorText(info.Status)
	case info.State == nvml.FabricCompleted && info.Health == nvml.FabricUnhealthy:
		text = "the NVSwitch fabric reports that the GPU is unhealthy"
	default:
		return
	}
	g.addFinding(gpu.CodeFabricNotReady, text, remedy)
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
