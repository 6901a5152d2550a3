//go:build linux

package main

import (
	"context"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/probe"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/metrics"
)

const (
	// questionLimit is how long an answer about the GPUs is waited for.
	questionLimit = 3 * time.Second
	// leftoversLimit is the same after the job, when the user waits for the exit.
	leftoversLimit = time.Second
	// questionLate is how long the end of one that is under way is waited for at the
	// end of the job: a driver that hangs must not hold up the exit.
	questionLate = 250 * time.Millisecond
)

// gpuWatch asks about the GPUs while a job runs, and knows whether it gets answers.
type gpuWatch struct {
	client *probe.Client
	stop   context.CancelFunc

	turn   chan struct{} // holds a token while a question is under way
	failed bool          // the last one; its owner is who holds the turn
}

// watchGPUs has the figures recorded, if there is a recorder, and keeps the process
// that tells of XIDs alive: one that died is replaced at the next question only.
func watchGPUs(client *probe.Client, wanted bool, recorder *metrics.Recorder) *gpuWatch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &gpuWatch{client: client, stop: cancel, turn: make(chan struct{}, 1)}
	sample := w.sample
	if !wanted {
		client.Close()
		w.failed, sample = true, nil
	}
	switch {
	case recorder != nil:
		go recorder.Run(ctx, sample)
	case wanted:
		go w.keep(ctx)
	}
	return w
}

// keep asks as often as for metrics.
func (w *gpuWatch) keep(ctx context.Context) {
	ticker := time.NewTicker(metrics.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		limited, cancel := context.WithTimeout(ctx, questionLimit)
		_, _ = w.ask(limited, func() (gpu.Sample, error) { return gpu.Sample{}, w.client.Listen(limited) })
		cancel()
	}
}

func (w *gpuWatch) sample(ctx context.Context) (gpu.Sample, error) {
	return w.ask(ctx, func() (gpu.Sample, error) { return w.client.Sample(ctx) })
}

// ask asks one thing at a time.
func (w *gpuWatch) ask(ctx context.Context, question func() (gpu.Sample, error)) (gpu.Sample, error) {
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return gpu.Sample{}, ctx.Err()
	}
	s, err := question()
	w.failed = err != nil || s.Error != ""
	return s, err
}

// answers takes the turn and reports whether a question now is worth it.
func (w *gpuWatch) answers() bool {
	select {
	case w.turn <- struct{}{}:
		return !w.failed
	case <-time.After(questionLate):
		return false
	}
}

// leftovers looks for processes that the job has left on its GPUs, for no longer
// than leftoversLimit and not when the user wanted the end.
func (w *gpuWatch) leftovers(p plan.Plan, r launcher.Result, before gpu.Inventory, control <-chan launcher.Control) []launcher.GPUProcess {
	if p.Mode != plan.ModeGPU || len(r.Workers) == 0 || r.Hurried || r.Signal != 0 || !w.answers() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), leftoversLimit)
	defer cancel()
	answer := make(chan gpu.Inventory, 1)
	go func() {
		if inv, err := w.client.Inventory(ctx); err == nil && inv.Source == gpu.SourceNVML {
			answer <- inv
		} else {
			cancel()
		}
	}()
	for {
		select {
		case after := <-answer:
			return launcher.Leftovers(p, before, after, userName())
		case <-ctx.Done():
			return nil
		case c := <-control:
			if c.Done != nil {
				c.Done()
			}
			if c.Stops() {
				return nil
			}
		}
	}
}

// userName is this process's user as package gpu names those of others.
func userName() string {
	number := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(number); err == nil && u.Username != "" {
		return u.Username
	}
	return number
}
