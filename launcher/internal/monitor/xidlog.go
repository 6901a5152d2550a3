package monitor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/report"
)

const (
	// xidWindow is how long before a worker's end an XID of its GPU is taken for
	// something that has to do with it; xidDelay how long after it one may be told: it
	// comes from another process, which may not get to run at once.
	xidWindow = 5 * time.Minute
	xidDelay  = time.Second
	// xidLimit is how many entries are kept of one GPU.
	xidLimit = 512
	// xidsTold is how many different ones are told of one worker.
	xidsTold = 32
)

// xidLog keeps the XIDs of a job's GPUs, so that a failure can be told with what came before
// it. Its methods may be called from any goroutine and never wait.
type xidLog struct {
	devices []rankedDevice

	mu   sync.Mutex
	seen map[int][]xidEntry // by the GPU's index in the plan, the oldest first
}

type rankedDevice struct {
	*plan.Device
	rank int
}

// xidEntry is an XID of a GPU or, if mig says so, of one instance.
type xidEntry struct {
	mig         string
	number      uint64
	first, last time.Time
	count       uint64
}

// newXIDLog makes a log for the GPUs of a plan's workers.
func newXIDLog(p plan.Plan) *xidLog {
	l := &xidLog{seen: map[int][]xidEntry{}}
	for _, w := range p.Workers {
		if w.Device != nil {
			l.devices = append(l.devices, rankedDevice{w.Device, w.Rank})
		}
	}
	return l
}

// add takes an event. It gives the GPU's index in the plan and the ranks that the
// event concerns, none if the GPU is not the job's.
func (l *xidLog) add(e gpu.Event) (index int, ranks []int) {
	for _, d := range l.devices {
		if d.Matches(e.UUID, e.Index) && (e.MIG == "" || e.MIG == d.UUID) {
			index, ranks = d.Index, append(ranks, d.rank)
		}
	}
	if len(ranks) > 0 && e.Kind == gpu.EventXID {
		l.keep(index, e)
	}
	return index, ranks
}

func (l *xidLog) keep(index int, e gpu.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.seen[index]
	same := func(s xidEntry) bool {
		return s.mig == e.MIG && s.number == e.XID && e.Time.Sub(s.first) < time.Second &&
			!e.Time.Before(s.first)
	}
	if i := slices.IndexFunc(list, same); i >= 0 {
		list[i].count += e.Count
		list[i].last = e.Time
		return
	}
	if len(list) >= xidLimit {
		list = slices.Delete(list, 0, 1)
	}
	l.seen[index] = append(list, xidEntry{mig: e.MIG, number: e.XID, first: e.Time, last: e.Time,
		count: e.Count})
}

// before gives the XIDs of a worker's device that have to do with its end, as far as the
// time tells, the earliest first. What came before its start was another attempt's, unless
// the GPU is not to be relied on since.
func (l *xidLog) before(w *plan.Worker, start, end time.Time) (list []report.XID) {
	if w.Device == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.seen[w.Device.Index] {
		if s.last.Before(end.Add(-xidWindow)) || s.first.After(end.Add(xidDelay)) || s.mig != "" &&
			s.mig != w.Device.UUID {
			continue
		}
		class, meaning := gpu.DescribeXID(s.number)
		if class != gpu.XIDFatal && s.last.Before(start) {
			continue
		}
		i := slices.IndexFunc(list, func(x report.XID) bool { return x.XID == s.number })
		if i >= 0 {
			list[i].Count += s.count
			continue
		}
		list = append(list, report.XID{Time: s.first.Round(0), XID: s.number, Class: string(class),
			Meaning: meaning, Count: s.count})
	}
	slices.SortStableFunc(list, func(a, b report.XID) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.XID, b.XID))
	})
	return list[:min(len(list), xidsTold)]
}

// describeEvent gives one line about something that happened to a GPU, without how
// often: "GPU 3 (rank 3): XID 79, the GPU fell off the bus (fatal)".
func describeEvent(e gpu.Event, index int, ranks []int) string {
	words := make([]string, len(ranks))
	for i, r := range ranks {
		words[i] = fmt.Sprint(r)
	}
	what := "event " + string(e.Kind)
	switch e.Kind {
	case gpu.EventXID:
		class, meaning := gpu.DescribeXID(e.XID)
		what = fmt.Sprintf("XID %d, %s (%s)", e.XID, meaning, class)
	case gpu.EventDropped:
		what = "events in too great a variety to be told apart"
	}
	return fmt.Sprintf("GPU %d (rank %s): %s", index, strings.Join(words, ", "), what)
}

// fatal reports whether an event is an XID after which its GPU is not to be relied on.
func fatal(e gpu.Event) bool {
	class, _ := gpu.DescribeXID(e.XID)
	return e.Kind == gpu.EventXID && class == gpu.XIDFatal
}
