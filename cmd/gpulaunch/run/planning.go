//go:build linux

package run

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/probe"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

// planned is what planning gives.
type planned struct {
	machine plan.Machine
	plan    plan.Plan
	options plan.Options
	err     error
}

// plan reads the machine and plans, unless the user wants to stop before that is done: a
// driver may take its time, and other users of the GPUs more. The job does not begin while
// it is suspended.
func (j *Job) plan(client *probe.Client) (plan.Machine, plan.Plan, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if !j.sup.Begin("planning", planningPhase{cancel: cancel}) {
		return plan.Machine{}, plan.Plan{}, nothingStarted(j.sup)
	}
	defer j.sup.End()
	result := make(chan planned, 1)
	go func() { result <- j.planNow(ctx, client) }()
	select {
	case r := <-result:
		j.Options = r.options // a restart has to be planned alike
		return r.machine, r.plan, r.err
	case <-ctx.Done():
		return plan.Machine{}, plan.Plan{}, nothingStarted(j.sup)
	}
}

// planningPhase is control of planning.
type planningPhase struct {
	supervisor.NoPhase
	cancel context.CancelFunc
}

// Stop gives planning up.
func (p planningPhase) Stop(supervisor.Request) { p.cancel() }

// Kill gives planning up.
func (p planningPhase) Kill(supervisor.Request) { p.cancel() }

// nothingStarted is the error for a job that was stopped while it was planned.
func nothingStarted(sup *supervisor.Supervisor) error {
	first, _ := sup.Stopped()
	return &cli.ExitError{Code: first.ExitCode(), Err: fmt.Errorf("%s: nothing was started",
		first.Why())}
}

const (
	// busyPoll is how often --busy=wait looks, busyRepeat how often it says what it waits
	// for.
	busyPoll   = 2 * time.Second
	busyRepeat = 30 * time.Second
)

// planNow reads the machine and plans. With --busy=wait it does so once the GPUs are free, or
// once as many of them are as there are to be workers.
func (j *Job) planNow(ctx context.Context, client *probe.Client) (r planned) {
	free := j.Options
	free.Busy = plan.BusyFail
	if o := j.Options; o.Workers != plan.WorkersAuto && o.Workers != plan.WorkersGPU &&
		!o.Oversubscribe {
		free.Busy = plan.BusySkip
	}
	ticker := time.NewTicker(busyPoll)
	defer ticker.Stop()
	var said time.Time
	reading := j.reading
	j.endAbandoned(launcher.EndAbandoned) // they may use GPUs
	for waiting := false; ; waiting = true {
		if waiting {
			reading = machine.Begin("")
		}
		r = planned{options: j.Options}
		begin := time.Now()
		if r.machine, r.err = ReadMachine(ctx, reading, client, &j.PlanFlags); r.err != nil {
			return r
		}
		known := r.machine.Inventory.Source == gpu.SourceNVML
		if j.hang.Swap(false) && known {
			j.out.say(fmt.Sprintf("NVML has answered, after %v",
				time.Since(begin).Round(100*time.Millisecond)))
		}
		// What does not get better by waiting is an error of this plan, too.
		r.plan, r.err = plan.New(r.machine, j.Options)
		if r.err != nil && !j.searched {
			j.searched = true
			if j.endAbandoned(launcher.EndAllAbandoned) {
				continue
			}
		}
		if j.Options.Busy != plan.BusyWait || !waiting && !known || known && r.err != nil {
			return r
		}
		if plan, err := plan.New(r.machine, free); known && err == nil {
			r.plan, r.options = plan, free
			return r
		}
		if time.Since(said) >= busyRepeat {
			said = time.Now()
			j.out.say(waitingFor(r.machine))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			r.err = ctx.Err()
			return r
		}
	}
}

// sayHang says why planning takes its time.
func (j *Job) sayHang(hang *gpu.HangError) {
	j.hang.Store(true)
	j.out.say(fmt.Sprintf("%v; it is waited for up to %v (--gpu-timeout)", hang,
		time.Duration(j.Timeout)))
}

// waitingFor says what --busy=wait waits for. While NVML gives no answer, nobody
// knows whether GPUs are free.
func waitingFor(m plan.Machine) string {
	if m.Inventory.Source != gpu.SourceNVML {
		return "waiting for NVML to say who uses the GPUs: " + m.Inventory.Reason
	}
	return "waiting for GPUs to be free: " + strings.Join(m.Busy(), "; ")
}
