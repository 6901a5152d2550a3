//go:build linux

package main

import (
	"context"
	"strings"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/probe"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

const (
	// busyPoll is how often --busy=wait looks, busyTold how often it says what for.
	busyPoll = 2 * time.Second
	busyTold = 30 * time.Second
)

// planNow reads the machine and plans. With --busy=wait that is done once the GPUs
// are free, or once as many are as workers were asked for.
func (f *jobFlags) planNow(ctx context.Context, client *probe.Client, say func(string)) (r planned) {
	free := f.options
	free.Busy = plan.BusyFail
	if o := f.options; o.Workers != plan.WorkersAuto && o.Workers != plan.WorkersGPU && !o.Oversubscribe {
		free.Busy = plan.BusySkip
	}
	ticker := time.NewTicker(busyPoll)
	defer ticker.Stop()
	var told time.Time
	for waiting := false; ; waiting = true {
		r = planned{options: f.options}
		if r.machine, r.err = readMachine(ctx, client, f); r.err != nil {
			return r
		}
		known := r.machine.Inventory.Source == gpu.SourceNVML
		// What waiting cannot help is an error of this plan, too.
		r.plan, r.err = plan.New(r.machine, f.options)
		if f.options.Busy != plan.BusyWait || !waiting && !known || known && r.err != nil {
			return r
		}
		if plan, err := plan.New(r.machine, free); known && err == nil {
			r.plan, r.options = plan, free
			return r
		}
		if time.Since(told) >= busyTold {
			told = time.Now()
			say(waitingFor(r.machine))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			r.err = ctx.Err()
			return r
		}
	}
}

// waitingFor says what --busy=wait waits for. While NVML gives no answer, nobody
// knows whether GPUs are free.
func waitingFor(m plan.Machine) string {
	if m.Inventory.Source != gpu.SourceNVML {
		return "waiting for NVML to say who uses the GPUs: " + m.Inventory.Reason
	}
	return "waiting for GPUs to be free: " + strings.Join(m.Busy(), "; ")
}
