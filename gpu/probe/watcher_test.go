package probe

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// What happens between the first question and the start of a job is the job's business.
func TestWatcherKeepsWhatCameEarly(t *testing.T) {
	w := NewWatcher([]string{"/bin/false"})
	defer w.Close()
	for i := range backlogLimit + 3 {
		w.OnEvent(gpu.Event{XID: uint64(i)})
	}
	w.OnNoEvents("the first reason")
	w.OnNoEvents("another")
	var heard []string
	w.Subscribe(func(e gpu.Event) { heard = append(heard, fmt.Sprint(e.XID)) },
		func(why string) { heard = append(heard, why) })
	if len(heard) != 1+backlogLimit || heard[0] != "the first reason" || heard[1] != "0" ||
		heard[backlogLimit] != fmt.Sprint(backlogLimit-1) {
		t.Errorf("heard %q", heard)
	}
	heard = nil
	w.OnEvent(gpu.Event{XID: 79})
	w.OnNoEvents("once is enough")
	if !slices.Equal(heard, []string{"79"}) {
		t.Errorf("afterwards %q", heard)
	}
	heard = nil
	for _, reason := range []string{"", "", "a new one", "another"} {
		w.OnNoEvents(reason)
	}
	if !slices.Equal(heard, []string{"", "a new one"}) {
		t.Errorf("after events came again %q", heard)
	}
}
