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
	// xidWindow is how long before a worker's end an XID of its GPU may have come to count as
	// related to it. xidDelay is how long after the end it may have been reported: another process
	// reports it, which may not get to run at once.
	xidWindow = 5 * time.Minute
	xidDelay  = time.Second
	// xidLimit is how many entries are kept for each GPU.
	xidLimit = 512
	// maxXIDs is how many different XIDs are reported for one worker.
	maxXIDs = 32
)

// xidLog remembers the XIDs of a job's GPUs, so that the report of a failure can have those that
// came before it. Its methods may be called from any goroutine and never wait.
type xidLog struct {
	mu      sync.Mutex
	devices []rankedDevice     // of the current attempt
	seen    map[int][]xidEntry // by the GPU's index in the plan, the oldest first
}

type rankedDevice struct {
	*plan.Device
	rank int
}

// xidEntry is an XID of a GPU or, if mig is not "", of one MIG instance.
type xidEntry struct {
	mig         string
	number      uint64
	first, last time.Time
	count       uint64
}

// newXIDLog returns a log for the GPUs of a plan's workers.
func newXIDLog(p plan.Plan) *xidLog {
	l := &xidLog{seen: map[int][]xidEntry{}}
	l.setDevices(p)
	return l
}

// setDevices makes the job's GPUs those of a plan.
func (l *xidLog) setDevices(p plan.Plan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.devices = nil
	for _, w := range p.Workers {
		if w.Device != nil {
			l.devices = append(l.devices, rankedDevice{w.Device, w.Rank})
		}
	}
}

// add adds an event to the log if it is an XID. It returns the GPU's index in the plan and the
// ranks that the event concerns, which are none if the GPU is not the job's.
func (l *xidLog) add(e gpu.Event) (index int, ranks []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.devices {
		if d.Matches(e.UUID, e.Index) && (e.MIG == "" || e.MIG == d.UUID) {
			index, ranks = d.Index, append(ranks, d.rank)
		}
	}
	if len(ranks) > 0 && e.Kind == gpu.EventXID {
		l.record(index, e)
	}
	return index, ranks
}

// record adds an XID. If the same one came less than a second ago, its count grows instead. The
// lock is held.
func (l *xidLog) record(index int, e gpu.Event) {
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

// before returns the XIDs of a worker's device that may have to do with its end, as far as their
// time tells, the earliest first. Those from before the worker's start belong to another attempt
// and are left out, except fatal ones, after which the GPU cannot be relied on.
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
	return list[:min(len(list), maxXIDs)]
}

// describeEvent describes an event of a GPU in one line, without how often it came: "GPU 3 (rank
// 3): XID 79, the GPU fell off the bus (fatal)".
func describeEvent(e gpu.Event, index int, ranks []int) string {
	what := "event " + string(e.Kind)
	switch e.Kind {
	case gpu.EventXID:
		class, meaning := gpu.DescribeXID(e.XID)
		what = fmt.Sprintf("XID %d, %s (%s)", e.XID, meaning, class)
	case gpu.EventDropped:
		what = "events in too great a variety to be told apart"
	}
	return fmt.Sprintf("%s: %s", gpuOf(index, ranks), what)
}

// gpuOf names a GPU and the ranks that use it: "GPU 3 (rank 3)".
func gpuOf(index int, ranks []int) string {
	words := make([]string, len(ranks))
	for i, r := range ranks {
		words[i] = fmt.Sprint(r)
	}
	return fmt.Sprintf("GPU %d (rank %s)", index, strings.Join(words, ", "))
}

// isFatal reports whether an event is an XID after which its GPU cannot be relied on.
func isFatal(e gpu.Event) bool {
	class, _ := gpu.DescribeXID(e.XID)
	return e.Kind == gpu.EventXID && class == gpu.XIDFatal
}
