package launcher

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
	"github.com/gpulaunch/gpulaunch/launcher/internal/spawn"
	"github.com/gpulaunch/gpulaunch/launcher/internal/stdio"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// startWorkers has the workers started one after the other, while the attempt goes on: by
// the spawner's thread, in one visit to it, or from the template, which may hang. What comes
// of it are the events spawned, spawnFailed and spawningEnded.
func (a *Attempt) startWorkers() {
	if a.template != nil {
		go a.startEach()
	} else {
		a.sup.Spawner().Go(a.startEach)
	}
}

func (a *Attempt) startEach() {
	defer a.events.put(event{"end of starting", a.allSpawned, func() { close(a.begun) }})
	null, err := os.Open(os.DevNull)
	if err != nil {
		err = fmt.Errorf("cannot open %s for the workers' standard input: %w", os.DevNull, err)
		a.post("failure to start", func() { a.startFailed(err) })
		return
	}
	defer null.Close()
	for i := range a.plan.Workers {
		if !a.gate.pass() {
			return
		}
		w := &a.plan.Workers[i]
		p, pipes, err := a.startWorker(w, null)
		if err != nil {
			a.post("failure to start", func() { a.startFailed(err) })
			return
		}
		a.events.put(event{
			"start of rank " + strconv.Itoa(w.Rank),
			func() { a.workerStarted(w, p, pipes) },
			func() { discard(p, pipes) },
		})
	}
}

// startWorker starts one worker. The pipes are nil unless its output is prefixed.
func (a *Attempt) startWorker(w *plan.Worker, null *os.File) (*spawn.Process, *stdio.Pipes, error) {
	sp := spawn.Spec{
		Job: &a.job, Argv: a.cfg.Argv, CPUs: w.CPUs, Cgroup: a.cgroup,
		Env:    w.Environ(a.cfg.Environ, a.environ(w)),
		Memory: a.plan.Memory, MemoryNodes: w.MemoryNodes,
		Files: [3]*os.File{null, os.Stdout, os.Stderr},
	}
	if a.input != nil && w.Rank == 0 {
		f, err := a.input.Open()
		if err != nil {
			return nil, nil, &StartError{Program: "rank 0", Err: err,
				Hint: process.ResourceHint(err)}
		}
		defer f.Close()
		sp.Files[0] = f
	}
	var pipes *stdio.Pipes
	if a.cfg.Output == OutputPrefix {
		p, err := stdio.NewPipes()
		if err != nil {
			return nil, nil, &StartError{Program: "a worker", Err: err,
				Hint: process.ResourceHint(err)}
		}
		pipes, sp.Files[1], sp.Files[2] = &p, p.Stdout, p.Stderr
	}
	p, err := a.spawn(sp)
	switch {
	case err != nil && pipes != nil:
		pipes.Close()
	case pipes != nil:
		pipes.CloseWorkerEnds()
	}
	return p, pipes, err
}

// spawn starts a worker by the job's start method.
func (a *Attempt) spawn(sp spawn.Spec) (*spawn.Process, error) {
	if a.template != nil {
		return a.sup.Spawner().Fork(a.template, sp)
	}
	p, err := a.sup.Spawner().Exec(sp)
	var failed *spawn.ExecError
	if errors.As(err, &failed) {
		return nil, &StartError{Program: sp.Argv[0], Err: failed.Err,
			Hint: execHint(sp.Argv[0], failed.Err)}
	}
	return p, err
}

// environ is what the environment of a worker gets anew in each attempt.
func (a *Attempt) environ(w *plan.Worker) map[string]string {
	env := map[string]string{
		"TORCHELASTIC_RESTART_COUNT": strconv.Itoa(a.number),
		"MASTER_PORT":                strconv.Itoa(a.plan.MasterPort),
		// Never that of a launcher around this one.
		"TORCHELASTIC_ERROR_FILE": "",
	}
	if a.folder != nil {
		env["TORCHELASTIC_ERROR_FILE"] = a.folder.Name(a.number, w.Rank)
	}
	return env
}

// workerStarted takes a new worker over.
func (a *Attempt) workerStarted(planned *plan.Worker, p *spawn.Process, pipes *stdio.Pipes) {
	w := &worker{Worker: planned, Process: p}
	if pipes != nil {
		w.stderr = a.output.Read(planned.Rank, *pipes)
	}
	a.workers = append(a.workers, w)
	a.monitor.WorkerStarted(planned, p.PID)
	a.emit(Event{Kind: WorkerStarted, Rank: w.Rank, PID: p.PID, Time: p.Started})
	a.spawned(w)
	a.waiter.Add(p)
}

// startFailed takes note of a worker that could not be started.
func (a *Attempt) startFailed(err error) {
	if a.state == starting {
		a.startErr = err
	}
	a.spawnFailed(err)
}

// allSpawned is the end of starting.
func (a *Attempt) allSpawned() {
	close(a.begun)
	a.spawningEnded()
}

// discard ends a worker that has been started after the end of its attempt.
func discard(p *spawn.Process, pipes *stdio.Pipes) {
	p.SignalGroup(unix.SIGKILL)
	p.Wait()
	if pipes != nil {
		pipes.Discard()
	}
}
