package launcher

import (
	"testing"

	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// TestGPULeftoversAreNamed checks that processes that stay on GPUs are named, but not more than
// maxLeftoverLines of them.
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
	if lines := r.Summary(); len(lines) != maxLeftoverLines+1 ||
		lines[maxLeftoverLines] != "and 12 more processes are still on the job's GPUs" {
		t.Errorf("%q", lines)
	}
}
