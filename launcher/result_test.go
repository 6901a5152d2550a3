package launcher

import (
	"testing"

	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// Processes that stay on GPUs are named, but not more of them than anybody reads.
func TestGPULeftoversAreNamed(t *testing.T) {
	var r Result
	r.GPULeftovers = []report.GPUProcess{{GPU: 1, UUID: "GPU-1", PID: 2, User: "me"},
		{GPU: 1, UUID: "GPU-1", PID: 4}}
	if lines := r.Summary(); len(lines) != 2 ||
		lines[0] != "still on GPU 1 after the job: process 2 (me); end it, or its memory stays "+
			"taken" {
		t.Errorf("%q", lines)
	}
	r.GPULeftovers = make([]report.GPUProcess, 20)
	if lines := r.Summary(); len(lines) != mostLeftovers+1 ||
		lines[mostLeftovers] != "and 12 more processes are still on the job's GPUs" {
		t.Errorf("%q", lines)
	}
}
