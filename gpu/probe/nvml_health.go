//go:build linux && !nonvml

package probe

import (
	"errors"
	"fmt"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/nvml"
)

// examine finds what is wrong with the GPU. A question that it does not answer finds nothing.
func (g *nvmlGPU) examine() {
	if g.attached && g.lost == nil {
		g.examineMemory()
		g.examineFabric()
		g.examineMode()
		g.examineRecovery()
	}
	if g.lost != nil { // then nothing else matters
		g.device.Findings = nil
		g.find(lostCode(g.lost), g.device.Problem, lostRemedy(g))
	}
}

func (g *nvmlGPU) find(code, text, remedy string) {
	g.device.Findings = append(g.device.Findings, gpu.Finding{Code: code, Text: text, Remedy: remedy})
}

func lostCode(err error) string {
	if errors.Is(err, nvml.ErrResetRequired) {
		return gpu.CodeResetRequired
	}
	return gpu.CodeLost
}

func lostRemedy(g *nvmlGPU) string {
	if errors.Is(g.lost, nvml.ErrResetRequired) {
		return g.resetRemedy()
	}
	return "look for XID 79 in the kernel's log, then power-cycle the machine; if it happens again, check the card's seat, cables and power"
}

// resetRemedy names the GPU by its address, which nvidia-smi takes and which does not change.
func (g *nvmlGPU) resetRemedy() string {
	return "end what uses it, then nvidia-smi --gpu-reset -i " + g.called() + ", or reboot"
}

// called is how nvidia-smi can be told which GPU is meant.
func (g *nvmlGPU) called() string {
	for _, name := range []string{g.device.PCIBusID, g.device.UUID} {
		if name != "" {
			return name
		}
	}
	return "<its index>"
}

func (g *nvmlGPU) examineMemory() {
	if n := g.uncorrectedErrors(); n > 0 {
		g.find(gpu.CodeECCUncorrected, fmt.Sprintf("%d uncorrectable memory errors since the last reset", n), g.resetRemedy())
	}
	if rows, err := g.handle.RemappedRows(); g.noted(err) {
		count := fmt.Sprintf("%d remapped so far after uncorrectable and %d after correctable errors", rows.Uncorrected, rows.Corrected)
		if rows.Pending {
			g.find(gpu.CodeRowRemapPending, "a bad memory row waits to be remapped, "+count, g.resetRemedy())
		}
		if rows.Failed {
			g.find(gpu.CodeRowRemapFailed, "a bad memory row could not be remapped, "+count, "have the card tested and replaced")
		}
	}
	if pending, err := g.handle.RetiredPagesPending(); g.noted(err) && pending {
		g.find(gpu.CodeRetiredPagesPending, "bad memory pages wait to be retired", g.resetRemedy())
	}
}

// uncorrectedErrors is 0 when nobody knows. With MIG on, only the instances count.
func (g *nvmlGPU) uncorrectedErrors() uint64 {
	total, err := g.handle.UncorrectedECCErrors()
	if g.noted(err) {
		return total
	}
	for _, instance := range g.instances {
		if n, err := instance.UncorrectedSRAMErrors(); g.noted(err) {
			total += n
		}
	}
	return total
}

func (g *nvmlGPU) examineFabric() {
	info, err := g.handle.Fabric()
	if !g.noted(err) {
		return
	}
	const remedy = "see that nvidia-fabricmanager runs with the driver's version (systemctl status nvidia-fabricmanager), and its log"
	switch {
	case info.State == nvml.FabricNotStarted:
		g.find(gpu.CodeFabricNotReady, "joining the NVSwitch fabric has not started", remedy)
	case info.State == nvml.FabricInProgress:
		g.find(gpu.CodeFabricNotReady, "joining the NVSwitch fabric is still in progress", remedy)
	case info.State == nvml.FabricCompleted && info.Status != nvml.Success:
		g.find(gpu.CodeFabricNotReady, "joining the NVSwitch fabric failed: "+nvmlText(info.Status), remedy)
	case info.State == nvml.FabricCompleted && info.Health == nvml.FabricUnhealthy:
		g.find(gpu.CodeFabricNotReady, "the NVSwitch fabric calls the GPU unhealthy", remedy)
	}
}

func (g *nvmlGPU) examineMode() {
	allow := "nvidia-smi -i " + g.called() + " --compute-mode=DEFAULT allows it"
	exclusive := g.mode == nvml.ComputeExclusiveProcess || g.mode == nvml.ComputeExclusiveThread
	if g.mode == nvml.ComputeProhibited {
		g.find(gpu.CodeComputeProhibited, "the compute mode is prohibited: nobody may use it", allow)
	}
	if exclusive && len(g.device.Processes) > 0 {
		text := fmt.Sprintf("the compute mode is %v and %v has it", g.mode, g.device.Processes[0])
		g.find(gpu.CodeExclusiveAndBusy, text, "wait for that process to end; "+allow+" to be shared")
	}
}

func (g *nvmlGPU) examineRecovery() {
	action, err := g.handle.RecoveryAction()
	if !g.noted(err) || action == nvml.RecoveryNone {
		return
	}
	g.find(gpu.CodeRecoveryAction, fmt.Sprintf("the driver asks for a recovery action: %v", action), recoveryRemedy(g, action))
}

func recoveryRemedy(g *nvmlGPU, action nvml.RecoveryAction) string {
	switch action {
	case nvml.RecoveryGPUReset, nvml.RecoveryBusReset, nvml.RecoveryDrainAndReset:
		return g.resetRemedy()
	case nvml.RecoveryNodeReboot, nvml.RecoverySystemReboot:
		return "reboot the machine"
	case nvml.RecoveryDrainP2P:
		return "end the jobs that use several GPUs, then look again"
	case nvml.RecoveryIMEXDomain:
		return "restart nvidia-imex on the nodes of the domain"
	}
	return "nvidia-smi -q names what this driver means by it"
}
