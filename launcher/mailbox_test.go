package launcher

import (
	"slices"
	"testing"
)

// TestMailbox checks that events are taken in order while the mailbox is open, and that those that
// nobody takes any more are dropped, each of them once.
func TestMailbox(t *testing.T) {
	m := newMailbox()
	var did []string
	put := func(name string, drops bool) {
		e := event{name: name, act: func() { did = append(did, name) }}
		if drops {
			e.dropped = func() { did = append(did, name+" dropped") }
		}
		m.put(e)
	}
	put("a", true)
	put("b", false)
	if len(m.ready) != 1 {
		t.Error("nobody is told that there are events")
	}
	for _, e := range m.take() {
		e.act()
	}
	if len(m.take()) != 0 {
		t.Error("events are taken twice")
	}
	put("c", true)
	put("d", false)
	m.close()
	put("e", true)
	put("f", false)
	want := []string{"a", "b", "c dropped", "e dropped"}
	if !slices.Equal(did, want) || len(m.take()) != 0 {
		t.Errorf("%q, want %q", did, want)
	}
	m.close()
	if !slices.Equal(did, want) {
		t.Errorf("closed twice: %q, want %q", did, want)
	}
}
