package probe

import (
	"sync"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// backlogLimit bounds what a Watcher keeps of the time before Subscribe.
const backlogLimit = 64

// Watcher is a Client whose child listens for events from the first question on. What
// happens before somebody subscribes is kept, because a job that is planned by the answer
// has to hear of what came after it.
type Watcher struct {
	*Client

	mu      sync.Mutex
	onEvent func(gpu.Event) // nil before Subscribe
	silence func(string)
	backlog []gpu.Event
	reason  string // why no events come
}

// NewWatcher returns a Watcher that runs argv, see NewClient.
func NewWatcher(argv []string) *Watcher {
	w := &Watcher{Client: NewClient(argv)}
	w.OnEvent, w.OnNoEvents = w.event, w.silent
	return w
}

// Subscribe has onEvent called for what happens to GPUs, first of all for what has happened
// since the first question, and onSilence with the reason why no events come, or not from
// all GPUs, and with "" when they come again. Calls come one at a time, and none may block. It is called once at most.
func (w *Watcher) Subscribe(onEvent func(gpu.Event), onSilence func(reason string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onEvent, w.silence = onEvent, onSilence
	if w.reason != "" {
		onSilence(w.reason)
	}
	for _, e := range w.backlog {
		onEvent(e)
	}
	w.backlog = nil
}

func (w *Watcher) event(e gpu.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.onEvent != nil:
		w.onEvent(e)
	case len(w.backlog) < backlogLimit:
		w.backlog = append(w.backlog, e)
	}
}

// silent takes the reason why no events come; the first one counts until they come again, which
// is the reason "".
func (w *Watcher) silent(reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if (w.reason != "") == (reason != "") {
		return
	}
	w.reason = reason
	if w.silence != nil {
		w.silence(reason)
	}
}
