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

// startWorkers starts the workers one after the other while the attempt goes on. The spawner's
// thread does so in one visit or, since the template may hang, a goroutine asks the template. The
// results are the events spawned, spawnFailed and spawningEnded.
func (a *Attempt) startWorkers() {
	if a.template != nil {
		go a.startEach()
	} else {
		a.sup.Spawner().Go(a.startEach)
	}
}

// startEach starts the workers until the gate is closed or one cannot be started.
func (a *Attempt) startEach() {
	defer a.events.put(event{"end of starting", a.allSpawned, func() { close(a.startDone) }})
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

// startWorker starts one worker. The pipes are nil unless its output is prefixed. null is the
// standard input of workers that get none.
func (a *Attempt) startWorker(w *plan.Worker, null *os.File) (*spawn.Process, *stdio.Pipes, error) {
	spec := spawn.Spec{
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
		spec.Files[0] = f
	}
	var pipes *stdio.Pipes
	if a.cfg.Output == OutputPrefix {
		p, err := stdio.NewPipes()
		if err != nil {
			return nil, nil, &StartError{Program: "a worker", Err: err,
				Hint: process.ResourceHint(err)}
		}
		pipes, spec.Files[1], spec.Files[2] = &p, p.Stdout, p.Stderr
	}
	p, err := a.spawn(spec)
	switch {
	case err != nil && pipes != nil:
		pipes.Close()
	case pipes != nil:
		pipes.CloseWorkerEnds()
	}
	return p, pipes, err
}

// spawn starts a worker by the job's start method.
func (a *Attempt) spawn(spec spawn.Spec) (*spawn.Process, error) {
	if a.template != nil {
		return a.sup.Spawner().Fork(a.template, spec)
	}
	p, err := a.sup.Spawner().Exec(spec)
	var failed *spawn.ExecError
	if errors.As(err, &failed) {
		return nil, execError(spec.Argv[0], failed.Err)
	}
	return p, err
}

// environ returns the part of a worker's environment that each attempt sets anew.
func (a *Attempt) environ(w *plan.Worker) map[string]string {
	env := map[string]string{
		"TORCHELASTIC_RESTART_COUNT": strconv.Itoa(a.number),
		"MASTER_PORT":                strconv.Itoa(a.plan.MasterPort),
		// Without a folder, it must not be the error file of a launcher around this one.
		"TORCHELASTIC_ERROR_FILE": "",
	}
	if a.folder != nil {
		env["TORCHELASTIC_ERROR_FILE"] = a.folder.Name(a.number, w.Rank)
	}
	return env
}

// workerStarted takes over a worker that has been started.
func (a *Attempt) workerStarted(planned *plan.Worker, p *spawn.Process, pipes *stdio.Pipes) {
	w := &worker{Worker: planned, Process: p}
	if pipes != nil {
		w.stderr = a.output.Read(planned.Rank, *pipes)
	}
	a.workers = append(a.workers, w)
	a.monitor.WorkerStarted(planned, p.PID)
	a.emit(Event{Kind: WorkerStarted, Rank: w.Rank, PID: p.PID, Time: p.Started})
	a.spawned(w)
	if !p.Ordered() && !a.orderUnsure {
		a.orderUnsure = true
		a.log("pidfd_open is denied here (seccomp): if several workers fail at almost the same " +
			"time, it is uncertain which one was the first")
	}
	a.waiter.Add(p)
}

// startFailed records that a worker could not be started.
func (a *Attempt) startFailed(err error) {
	if a.state == starting {
		a.startErr = err
	}
	a.spawnFailed(err)
}

// allSpawned is called when no further worker will be started.
func (a *Attempt) allSpawned() {
	close(a.startDone)
	a.spawningEnded()
}

// discard kills a worker that has been started after the end of its attempt.
func discard(p *spawn.Process, pipes *stdio.Pipes) {
	p.SignalGroup(unix.SIGKILL)
	p.Wait()
	if pipes != nil {
		pipes.Discard()
	}
}
