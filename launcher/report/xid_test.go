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
