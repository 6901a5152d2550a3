package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/plural"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// maxNamed is how many processes of one GPU are named.
const maxNamed = 4

// nameOf returns "GPU 3 (0000:61:00.0)".
func nameOf(d gpu.Device) string {
	if d.PCIBusID == "" {
		return fmt.Sprintf("GPU %d", d.Index)
	}
	return fmt.Sprintf("GPU %d (%s)", d.Index, d.PCIBusID)
}

// idOf returns the GPU as an argument of nvidia-smi -i.
func idOf(d gpu.Device) string {
	if d.PCIBusID == "" {
		return "<GPU>"
	}
	return d.PCIBusID
}

// indexList returns "GPU 0, 3".
func indexList(indexes []int) string {
	return "GPU " + strings.Trim(strings.ReplaceAll(fmt.Sprint(indexes), " ", ", "), "[]")
}

// health reports the problems of each GPU. A GPU that a job would not use stops no job, so its
// problems are warnings.
func health(f Facts) []Result {
	if answer, asked := f.askedNVML("the GPUs' health"); !asked {
		return answer
	}
	var results []Result
	for _, d := range f.Inventory.Devices {
		for _, r := range deviceProblems(d) {
			if why := f.unneeded(d); why != "" {
				r.Status = Warn
				r.Found += " (" + why + ")"
			}
			results = append(results, r)
		}
	}
	if results == nil {
		return ok("%s", plural.Of(len(f.Inventory.Devices),
			"the GPU reports no problem", "the %d GPUs report no problem"))
	}
	return results
}

// unneeded returns why a job would start without a GPU, or "" if the job would use it or needs it.
func (f Facts) unneeded(d gpu.Device) string {
	if !f.admitted(d) {
		return "CUDA_VISIBLE_DEVICES leaves it out"
	}
	uses := func(w plan.Worker) bool { return w.Device.Matches(d.UUID, d.Index) }
	if f.PlanErr == nil && f.Plan.Mode == plan.ModeGPU && !slices.ContainsFunc(f.Plan.Workers, uses) {
		return "a job would do without it"
	}
	return ""
}

// deviceProblems returns a result for each finding and, if there is none, for the problem of a GPU
// that is not usable.
func deviceProblems(d gpu.Device) []Result {
	var results []Result
	for _, finding := range d.Findings {
		found := problem(severity(finding.Code), finding.Remedy, "%s: %s", nameOf(d), finding.Text)
		results = append(results, found...)
	}
	if results == nil && !d.Usable() && !lacksInstances(d) {
		return problem(Fail, "see what nvidia-smi -q -i "+idOf(d)+" says",
			"%s is not usable: %s", nameOf(d), d.Problem)
	}
	return results
}

// severity returns Fail if a job on the GPU cannot start or is not reliable. A GPU that only waits
// for its next reset can be used until then, and one that is slower than others works.
func severity(code string) Status {
	switch code {
	case gpu.CodeRowRemapPending, gpu.CodeRetiredPagesPending, gpu.CodeSpareRowsExhausted,
		gpu.CodeFabricLimited, gpu.CodeHardwareSlowdown:
		return Warn
	}
	return Fail
}

// lacksInstances reports whether the GPU is in MIG mode but has no instance. Then nothing can use
// it.
func lacksInstances(d gpu.Device) bool { return d.MIG && len(d.MIGInstances) == 0 }

func mig(f Facts) []Result {
	if answer, asked := f.askedNVML("MIG"); !asked {
		return answer
	}
	var results []Result
	instances, gpus := 0, 0
	for _, d := range f.Inventory.Devices {
		if len(d.MIGInstances) > 0 {
			gpus++
			instances += len(d.MIGInstances)
		}
		if !lacksInstances(d) || len(d.Findings) > 0 { // a lost GPU does not list its instances
			continue
		}
		status, note := Fail, ""
		if why := f.unneeded(d); why != "" {
			status, note = Warn, " ("+why+")"
		}
		remedy := fmt.Sprintf("create instances (nvidia-smi mig -i %s -lgip lists profiles, "+
			"-cgi PROFILE -C creates one), or turn MIG off: nvidia-smi -i %[1]s -mig 0", idOf(d))
		found := problem(status, remedy, "%s: MIG is on, but there is no instance%s",
			nameOf(d), note)
		results = append(results, found...)
	}
	if results == nil && gpus == 0 {
		return ok("off")
	}
	if gpus > 0 {
		results = append(results, ok("%s on %s",
			plural.Of(instances, "%d instance", "%d instances"),
			plural.Of(gpus, "%d GPU", "%d GPUs"))...)
	}
	return results
}

// busy names the processes on the GPUs. They belong to others, as doctor uses no GPU.
func busy(f Facts) []Result {
	if answer, asked := f.askedNVML("who uses the GPUs"); !asked {
		return answer
	}
	var results []Result
	for _, d := range f.Inventory.Devices {
		if len(d.Processes) == 0 || !f.admitted(d) {
			continue
		}
		var users []string
		for _, p := range d.Processes[:min(len(d.Processes), maxNamed)] {
			users = append(users, describe(p))
		}
		if more := len(d.Processes) - maxNamed; more > 0 {
			users = append(users, fmt.Sprintf("and %d more", more))
		}
		results = append(results, problem(Warn,
			"wait for these processes or end them, or run with --busy=skip, wait or fail",
			"%s is in use by %s", nameOf(d), strings.Join(users, ", "))...)
	}
	if results == nil {
		return ok("nobody computes on them")
	}
	return results
}

// describe returns "pid 42 (alice, python3, 1.5 GiB)", without what is not known.
func describe(p gpu.Process) string {
	var known []string
	for _, s := range []string{p.User, p.Command} {
		if s != "" {
			known = append(known, s)
		}
	}
	if p.MemoryKnown {
		known = append(known, terminal.Bytes(p.MemoryBytes))
	}
	if len(known) == 0 {
		return fmt.Sprintf("pid %d", p.PID)
	}
	return fmt.Sprintf("pid %d (%s)", p.PID, strings.Join(known, ", "))
}

// persistence checks the mode that makes the first call of CUDA fast.
func persistence(f Facts) []Result {
	if answer, asked := f.askedNVML("persistence mode"); !asked {
		return answer
	}
	var off, unreported []int
	for _, d := range f.Inventory.Devices {
		switch {
		case !d.Usable(): // that is a result of health
		case d.Persistence == nil:
			unreported = append(unreported, d.Index)
		case !*d.Persistence:
			off = append(off, d.Index)
		}
	}
	var results []Result
	if len(off) > 0 {
		results = append(results, problem(Warn,
			"start nvidia-persistenced, or run nvidia-smi -pm 1",
			"off on %s: every job that starts initializes the GPU again, which takes seconds",
			indexList(off))...)
	}
	if len(unreported) > 0 {
		results = append(results, unknown("%s does not report it", indexList(unreported))...)
	}
	if results == nil {
		return ok("on")
	}
	return results
}

// computeMode warns of GPUs that allow only one process. GPUs that allow none, or that are taken,
// have findings, which health reports.
func computeMode(f Facts) []Result {
	if answer, asked := f.askedNVML("the compute mode"); !asked {
		return answer
	}
	var results []Result
	var unreported []int
	for _, d := range f.Inventory.Devices {
		switch {
		case !d.Usable():
		case d.ComputeMode == "":
			unreported = append(unreported, d.Index)
		case strings.HasPrefix(d.ComputeMode, "exclusive"):
			remedy := "leave it if each worker has a GPU of its own; " +
				"to share the GPU, run nvidia-smi -i " + idOf(d) + " --compute-mode=DEFAULT"
			results = append(results, problem(Warn, remedy,
				"%s is %s: --oversubscribe fails, "+
					"and so do workers that use CUDA in child processes",
				nameOf(d), d.ComputeMode)...)
		}
	}
	if len(unreported) > 0 {
		results = append(results, unknown("%s does not report it", indexList(unreported))...)
	}
	if results == nil {
		return ok("no GPU is exclusive")
	}
	return results
}
