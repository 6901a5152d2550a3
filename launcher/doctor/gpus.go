package doctor

import (
	"fmt"
	"strings"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/internal/text"
)

// mostNamed is how many processes of one GPU are named.
const mostNamed = 4

// named is how a GPU is called, "GPU 3 (0000:61:00.0)".
func named(d gpu.Device) string {
	if d.PCIBusID == "" {
		return fmt.Sprintf("GPU %d", d.Index)
	}
	return fmt.Sprintf("GPU %d (%s)", d.Index, d.PCIBusID)
}

// at is how nvidia-smi is told which GPU is meant.
func at(d gpu.Device) string {
	if d.PCIBusID == "" {
		return "<GPU>"
	}
	return d.PCIBusID
}

// indexes lists GPUs, "GPU 0, 3".
func indexes(list []int) string {
	return "GPU " + strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ", "), "[]")
}

// health passes on what is wrong with each GPU. A GPU that CUDA_VISIBLE_DEVICES does not admit stops no job.
func health(f Facts) []Result {
	ok, otherwise := f.byNVML("the GPUs' health")
	if !ok {
		return otherwise
	}
	var results []Result
	for _, d := range f.Inventory.Devices {
		for _, r := range ailments(d) {
			if !f.admitted(d) {
				r.Status = Warn
				r.Found += " (CUDA_VISIBLE_DEVICES leaves it out)"
			}
			results = append(results, r)
		}
	}
	if results == nil {
		results = one(good("nothing is wrong with %s, as far as the cards tell", text.Plural(len(f.Inventory.Devices), "the %d GPU", "the %d GPUs")))
	}
	return results
}

func ailments(d gpu.Device) []Result {
	var results []Result
	for _, finding := range d.Findings {
		results = append(results, bad(severity(finding.Code), finding.Remedy, "%s: %s", named(d), finding.Text))
	}
	if results == nil && !d.Usable() && !undivided(d) {
		results = one(bad(Fail, "look for NVRM and Xid in the kernel's log (dmesg), and see what nvidia-smi -q says", "%s is not usable: %s", named(d), d.Problem))
	}
	return results
}

// severity says whether a job on the GPU cannot start or be relied on. What only waits for the next reset can.
func severity(code string) Status {
	switch code {
	case gpu.CodeRowRemapPending, gpu.CodeRetiredPagesPending:
		return Warn
	}
	return Fail
}

// undivided is a GPU in MIG mode that has no instances: nobody can use it.
func undivided(d gpu.Device) bool { return d.MIG && len(d.MIGInstances) == 0 }

func mig(f Facts) []Result {
	ok, otherwise := f.byNVML("MIG")
	if !ok {
		return otherwise
	}
	var results []Result
	instances, gpus := 0, 0
	for _, d := range f.Inventory.Devices {
		if len(d.MIGInstances) > 0 {
			gpus++
			instances += len(d.MIGInstances)
		}
		if !undivided(d) || d.MIG && len(d.Findings) > 0 { // a lost GPU tells of no instances
			continue
		}
		status := Fail
		if !f.admitted(d) {
			status = Warn
		}
		results = append(results, bad(status, fmt.Sprintf("make instances (nvidia-smi mig -i %s -lgip lists profiles, -cgi PROFILE -C makes one), or turn MIG off: nvidia-smi -i %s -mig 0", at(d), at(d)),
			"%s: MIG is on, but there is no instance", named(d)))
	}
	if results == nil && gpus == 0 {
		return one(good("off"))
	}
	if gpus > 0 {
		results = append(results, good("%s on %s", text.Plural(instances, "%d instance", "%d instances"), text.Plural(gpus, "%d GPU", "%d GPUs")))
	}
	return results
}

// busy names the processes of others: none can be ours, for this one runs nothing on GPUs.
func busy(f Facts) []Result {
	ok, otherwise := f.byNVML("who uses the GPUs")
	if !ok {
		return otherwise
	}
	var results []Result
	for _, d := range f.Inventory.Devices {
		if len(d.Processes) == 0 || !f.admitted(d) {
			continue
		}
		var who []string
		for _, p := range d.Processes[:min(len(d.Processes), mostNamed)] {
			who = append(who, person(p))
		}
		if more := len(d.Processes) - mostNamed; more > 0 {
			who = append(who, fmt.Sprintf("and %d more", more))
		}
		results = append(results, bad(Warn, "wait for them or end them; gpulaunch run --busy says what a job does about them", "%s is in use by %s", named(d), strings.Join(who, ", ")))
	}
	if results == nil {
		return one(good("nobody computes on them"))
	}
	return results
}

// person is "pid 42 (alice, python3, 1.5 GiB)", as far as known.
func person(p gpu.Process) string {
	var known []string
	for _, s := range []string{p.User, p.Command} {
		if s != "" {
			known = append(known, s)
		}
	}
	if p.MemoryKnown {
		known = append(known, size(p.MemoryBytes))
	}
	if len(known) == 0 {
		return fmt.Sprintf("pid %d", p.PID)
	}
	return fmt.Sprintf("pid %d (%s)", p.PID, strings.Join(known, ", "))
}

// persistence is about how long the first call of CUDA takes.
func persistence(f Facts) []Result {
	ok, otherwise := f.byNVML("persistence mode")
	if !ok {
		return otherwise
	}
	var off, unknown []int
	for _, d := range f.Inventory.Devices {
		switch {
		case !d.Usable(): // health has told
		case d.Persistence == nil:
			unknown = append(unknown, d.Index)
		case !*d.Persistence:
			off = append(off, d.Index)
		}
	}
	var results []Result
	if len(off) > 0 {
		results = append(results, bad(Warn, "start nvidia-persistenced, or nvidia-smi -pm 1",
			"off on %s: each job's start initializes the GPU anew, for seconds", indexes(off)))
	}
	if len(unknown) > 0 {
		results = append(results, untold("%s does not tell", indexes(unknown)))
	}
	if results == nil {
		return one(good("on"))
	}
	return results
}

// computeMode is about GPUs that let one process in; those that let nobody in, or are taken, are findings.
func computeMode(f Facts) []Result {
	ok, otherwise := f.byNVML("the compute mode")
	if !ok {
		return otherwise
	}
	var results []Result
	var unknown []int
	for _, d := range f.Inventory.Devices {
		switch {
		case !d.Usable():
		case d.ComputeMode == "":
			unknown = append(unknown, d.Index)
		case strings.HasPrefix(d.ComputeMode, "exclusive"):
			results = append(results, bad(Warn, "leave it if each worker has a GPU of its own; to share it: nvidia-smi -i "+at(d)+" --compute-mode=DEFAULT",
				"%s is %s: --oversubscribe, and workers that start CUDA in child processes, fail there", named(d), d.ComputeMode))
		}
	}
	if len(unknown) > 0 {
		results = append(results, untold("%s does not tell", indexes(unknown)))
	}
	if results == nil {
		return one(good("no GPU is exclusive"))
	}
	return results
}
