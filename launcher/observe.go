package launcher

import (
	"fmt"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/internal/monitor"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

// emit sends an event to the observer, if there is one.
func (s *shared) emit(e Event) {
	if s.cfg.Observe == nil {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	s.emitting.Lock()
	defer s.emitting.Unlock()
	e.Attempt = s.attemptNumber
	s.cfg.Observe(e)
}

// observer returns an observer that turns what the monitor finds into events.
func (s *shared) observer() monitor.Observer {
	return monitor.Observer{
		GPUsSampled:  func(sample gpu.Sample) { s.emit(Event{Kind: GPUsSampled, GPUs: &sample}) },
		GPUsSilent:   func(why string) { s.emit(Event{Kind: GPUsSilent, Text: why}) },
		GPUEvent:     func(e gpu.Event) { s.emit(Event{Kind: GPUHappening, GPU: &e}) },
		EventsSilent: func(why string) { s.emit(Event{Kind: GPUEventsSilent, Text: why}) },
		WorkerSampled: func(w monitor.WorkerSample) {
			s.emit(Event{Kind: WorkerSampled, Rank: w.Rank, PID: w.PID, CPU: w.CPU,
				ResidentBytes: w.ResidentBytes, WithinCPUs: w.WithinCPUs})
		},
		Log:   s.cfg.Log,
		Fatal: s.fatalXID,
	}
}

// fatalXID stops the job if Config.StopOnFatalXID is set. line describes the XID.
func (s *shared) fatalXID(line string) {
	if !s.cfg.StopOnFatalXID {
		return
	}
	s.sup.Request(supervisor.Request{
		Signal: stopSignal, Direct: true, Reason: "--on-xid=stop",
		Err: fmt.Errorf("%s: the job was stopped as --on-xid=stop says", line),
	})
}
