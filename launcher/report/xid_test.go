package report

import (
	"strings"
	"testing"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// withXIDs returns a job whose root cause had these errors.
func withXIDs(xids ...XID) Report {
	r := job(4, true)
	w := root(&r)
	for i := range xids {
		xids[i].Time = w.Ended.Add(-time.Duration(1200*(len(xids)-i)) * time.Millisecond)
	}
	w.XIDs = xids
	return r
}

func TestProbableCause(t *testing.T) {
	other, application := XID{XID: 63, Class: "other", Count: 1},
		XID{XID: 31, Class: "application", Meaning: "page fault", Count: 3}
	fatal, torn := XID{XID: 79, Class: "fatal", Meaning: "the GPU fell off the bus", Count: 1},
		XID{XID: 45, Class: "application", Count: 1}
	for want, xids := range map[string][]XID{
		"probable cause: XID 31, page fault (application), 3 times, 2.4s before " +
			"the end": {application, other},
		"probable cause: XID 79, the GPU fell off the bus (fatal), 1.2s before " +
			"the end": {application, torn, fatal},
		"": {other, torn}, // XID 45 is a consequence, not a cause
	} {
		got := print(t, withXIDs(xids...), terminal.Style{})
		if n := strings.Count(got, "probable cause: "); want == "" && n > 0 || want != "" &&
			(n != 1 || !strings.Contains(got, want)) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
	hostile := fatal
	hostile.Meaning, hostile.Count = "\x1b[2J", 1
	if got := print(t, withXIDs(hostile), terminal.Style{}); strings.Contains(got, "\x1b[2J") {
		t.Error("a control character is printed")
	}
	// An error that has a later time than the worker's end is shown without a time.
	late := withXIDs(fatal)
	root(&late).XIDs[0].Time = root(&late).Ended.Add(time.Second)
	if got := print(t, late, terminal.Style{}); !strings.Contains(got, "(fatal)\n") {
		t.Error(got)
	}
}

// TestLostGPU checks where the loss of a GPU stands among probable causes.
func TestLostGPU(t *testing.T) {
	const reason = "GPU is lost (code 15)"
	fatal := XID{XID: 79, Class: "fatal", Meaning: "the GPU fell off the bus", Count: 1}
	application := XID{XID: 31, Class: "application", Meaning: "page fault", Count: 1}
	for want, xids := range map[string][]XID{
		"was lost: " + reason + ", 500ms before the end": {application},
		"XID 79, the GPU fell off the bus (fatal)":       {fatal},
	} {
		r := withXIDs(xids...)
		w := root(&r)
		w.GPULost = &GPULoss{Time: w.Ended.Add(-500 * time.Millisecond), Reason: reason}
		got := print(t, r, terminal.Style{})
		if strings.Count(got, "probable cause: ") != 1 || !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
	// The loss of a peer's GPU is the cause only if nothing is known of the worker's own.
	for _, c := range []struct {
		xids []XID
		want string
	}{{nil, "(rank 3) was lost: \\x1b[2J"}, {[]XID{application}, "XID 31"}} {
		r := withXIDs(c.xids...)
		for i := range r.Workers {
			if r.Workers[i].Rank == 3 {
				r.Workers[i].GPULost = &GPULoss{Reason: "\x1b[2J"}
			}
		}
		got := print(t, r, terminal.Style{})
		if strings.Count(got, "probable cause: ") != 1 || !strings.Contains(got, c.want) ||
			strings.Contains(got, "\x1b[2J") {
			t.Errorf("want %q in\n%s", c.want, got)
		}
	}
	r := withXIDs()
	r.Earlier = []Worker{{Rank: 2, Device: &Device{Index: 5}, GPULost: &GPULoss{Reason: reason}}}
	if got := print(t, r, terminal.Style{}); !strings.Contains(got,
		"; GPU 5 (rank 2) was lost: "+reason) || strings.Contains(got, "probable cause") {
		t.Error(got)
	}
}
