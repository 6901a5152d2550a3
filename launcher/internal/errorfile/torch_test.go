//go:build linux

package errorfile

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// runPython runs a script with an interpreter that can import PyTorch. err says how it ended.
func runPython(t *testing.T, errorFile string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	const module = "torch.distributed.elastic.multiprocessing.errors"
	var out, errOut strings.Builder
	cmd := exec.CommandContext(t.Context(), launchertest.Python(t, module), args...)
	cmd.Env = append(cmd.Environ(), "PYTHONUTF8=1", "PYTHONDONTWRITEBYTECODE=1",
		"TORCHELASTIC_ERROR_FILE="+errorFile)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// record runs testdata/recorded.py, which must exit with code 1, and returns what rank has left.
func record(t *testing.T, f *Folder, rank int, args ...string) *Record {
	t.Helper()
	args = append([]string{"testdata/recorded.py"}, args...)
	_, stderr, err := runPython(t, f.Name(0, rank), args...)
	if err == nil || err.Error() != "exit status 1" {
		t.Fatalf("%q ended with %v, want exit status 1\n%s", args, err, stderr)
	}
	r, err := f.Read(0, rank)
	if err != nil || r == nil {
		t.Fatalf("%q left %v (%v), want a record\n%s", args, r, err, stderr)
	}
	return r
}

// TestRecordedByTorch reads error files that PyTorch has written.
func TestRecordedByTorch(t *testing.T) {
	f := newFolder(t)
	start := time.Now().Truncate(time.Second)
	raised := record(t, f, 0, "raise")
	const message = "ValueError: no such layer: \"konv2d\" é 😀 \ufffd \x1b[31m"
	if raised.Message != message {
		t.Errorf("the message is %q, want %q", raised.Message, message)
	}
	for _, want := range []string{
		"Traceback (most recent call last):\n", "recorded.py\", line ", "in main\n", message,
	} {
		if !strings.Contains(raised.Traceback, want) {
			t.Errorf("the traceback does not contain %q:\n%s", want, raised.Traceback)
		}
	}
	if raised.Time.Before(start) || raised.Time.After(time.Now()) || raised.Code != 0 {
		t.Errorf("the time is %s and the code %d, want a time since %s and no code",
			raised.Time, raised.Code, start)
	}

	// A launcher inside the worker passes the same record on.
	passed := record(t, f, 1, "child", f.Name(0, 0))
	raised.Code = -6
	if diff := cmp.Diff(raised, passed); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}

	_, stderr, err := runPython(t, f.Name(0, 2), "testdata/recorded.py", "nothing")
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	if r, err := f.Read(0, 2); r != nil || err != nil {
		t.Errorf("a worker that ended with code 0 left %v, %v, want nothing", r, err)
	}
}

// torchFailure is what testdata/failure.py prints about one error file.
type torchFailure struct {
	Message struct {
		Message   string
		ErrorCode int
		ExtraInfo struct {
			Callstack string `json:"py_callstack"`
		}
	}
	Timestamp int64
	Report    string // what torchrun would print
}

// TestEncodeForTorch reads what Encode has written with the code that torchrun uses.
func TestEncodeForTorch(t *testing.T) {
	f := newFolder(t)
	records := []Record{
		{Message: "open model.bin: no such file \"é\" <&>\n\x00",
			Traceback: "main.train\n\t/src/train.go:17", Time: time.Unix(1700000000, 0), Code: 3},
		{Message: "only a message"},
	}
	args := []string{"testdata/failure.py"}
	for i, r := range records {
		data, err := Encode(r)
		must(t, err)
		write(t, f.Name(0, i), string(data))
		args = append(args, f.Name(0, i))
	}
	stdout, stderr, err := runPython(t, "", args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	var failures []torchFailure
	err = json.Unmarshal([]byte(stdout), &failures)
	if err != nil || len(failures) != len(records) {
		t.Fatalf("got %d failures (%v), want %d: %s", len(failures), err, len(records), stdout)
	}
	for i, r := range records {
		got := failures[i]
		want, shown := max(r.Time.Unix(), 0), r.Traceback
		if shown == "" {
			shown = r.Message
		}
		m := got.Message
		if m.Message != r.Message || m.ErrorCode != r.Code ||
			m.ExtraInfo.Callstack != r.Traceback || got.Timestamp != want {
			t.Errorf("PyTorch reads %+v, want %+v", got, r)
		}
		text := "traceback : " + strings.ReplaceAll(shown, "\n", "\n  ")
		if !strings.Contains(got.Report, text) {
			t.Errorf("torchrun's report does not contain %q:\n%s", text, got.Report)
		}
	}
}
