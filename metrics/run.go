package metrics

import (
	"context"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// Interval is how often the figures of workers and GPUs are read.
const Interval = 5 * time.Second

// firstLook is when they are read for the first time: early enough for someone
// who has just started a job and looks, and late enough not to compete with the
// start of the workers.
const firstLook = 500 * time.Millisecond

// sampleLimit bounds one look at the GPUs.
const sampleLimit = 3 * time.Second

// Run reads the figures until ctx ends. sampleGPUs asks for those of the GPUs;
// nil when there are none. A question that takes long holds up no figures of
// workers.
func (r *Recorder) Run(ctx context.Context, sampleGPUs func(context.Context) (gpu.Sample, error)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if sampleGPUs != nil {
			every(ctx, func() { r.sampleGPUs(ctx, sampleGPUs) })
		}
	}()
	every(ctx, r.sampleWorkers)
	<-done
}

func (r *Recorder) sampleGPUs(ctx context.Context, ask func(context.Context) (gpu.Sample, error)) {
	ctx, cancel := context.WithTimeout(ctx, sampleLimit)
	defer cancel()
	if s, err := ask(ctx); err == nil && s.Error == "" {
		r.RecordGPUs(s)
	} else {
		r.recordGPUFailure()
	}
}

// every calls f now and then until ctx ends.
func every(ctx context.Context, f func()) {
	timer := time.NewTimer(firstLook)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			f()
			timer.Reset(Interval)
		case <-ctx.Done():
			return
		}
	}
}
