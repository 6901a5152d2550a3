//go:build linux

package errorfile

import (
	"encoding/json"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// torchPython is an interpreter that can import PyTorch, or empty.
var torchPython = sync.OnceValue(func() string {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import torch.distributed.elastic.multiprocessing.errors").Run() == nil {
			return python
		}
	}
	return ""
})

// python runs a script under PyTorch and gives its output and how it ended.
func python(t *testing.T, env string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	interpreter := torchPython()
	if interpreter == "" {
		nvmltest.Unavailable(t, "no python3 here can import torch: install python3-torch")
	}
	var out, errOut strings.Builder
	cmd := exec.CommandContext(t.Context(), interpreter, args...)
	cmd.Env = append(cmd.Environ(), "PYTHONUTF8=1", "PYTHONDONTWRITEBYTECODE=1", env)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// TestRecordedByTorch reads what PyTorch itself writes.
func TestRecordedByTorch(t *testing.T) {
	f := private(t)
	start := time.Now().Truncate(time.Second)
	_, stderr, err := python(t, "TORCHELASTIC_ERROR_FILE="+f.Name(0, 0), "testdata/recorded.py", "raise")
	if err == nil || err.Error() != "exit status 1" {
		t.Fatalf("%v\n%s", err, stderr)
	}
	raised, err := f.Read(0, 0)
	if err != nil || raised == nil {
		t.Fatalf("%v, %v\n%s", raised, err, stderr)
	}
	if want := "ValueError: no such layer: \"konv2d\" é 😀 \ufffd \x1b[31m"; raised.Message != want {
		t.Errorf("the message is %q, want %q", raised.Message, want)
	}
	for _, want := range []string{"Traceback (most recent call last):\n", "recorded.py\", line ", "in main\n", raised.Message} {
		if !strings.Contains(raised.Traceback, want) {
			t.Errorf("the traceback has no %q:\n%s", want, raised.Traceback)
		}
	}
	if raised.Time.Before(start) || raised.Time.After(time.Now()) || raised.Code != 0 {
		t.Errorf("at %s (it is %s) with code %d", raised.Time, time.Now(), raised.Code)
	}

	// The same once more, passed on by a launcher within the worker.
	_, stderr, err = python(t, "TORCHELASTIC_ERROR_FILE="+f.Name(0, 1), "testdata/recorded.py", "child", f.Name(0, 0))
	if err == nil || err.Error() != "exit status 1" {
		t.Fatalf("%v\n%s", err, stderr)
	}
	passed, err := f.Read(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	raised.Code = -6
	if diff := cmp.Diff(raised, passed); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}

	if _, stderr, err = python(t, "TORCHELASTIC_ERROR_FILE="+f.Name(0, 2), "testdata/recorded.py", "nothing"); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	if r, err := f.Read(0, 2); r != nil || err != nil {
		t.Errorf("of a worker that ended well: %v, %v", r, err)
	}
}

// TestEncodeForTorch has torchrun's own reader read what Encode writes.
func TestEncodeForTorch(t *testing.T) {
	f := private(t)
	records := []Record{
		{Message: "open model.bin: no such file \"é\" <&>\n\x00", Traceback: "main.train\n\t/src/train.go:17", Time: time.Unix(1700000000, 0), Code: 3},
		{Message: "only a message"},
	}
	args := []string{"testdata/failure.py"}
	for i, r := range records {
		data, err := Encode(r)
		must(t, err)
		write(t, f.Name(0, i), string(data))
		args = append(args, f.Name(0, i))
	}
	stdout, stderr, err := python(t, "TORCHELASTIC_ERROR_FILE=", args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	var said []struct {
		Message struct {
			Message   string
			ErrorCode int
			ExtraInfo struct {
				Callstack string `json:"py_callstack"`
			}
		}
		Timestamp int64
		Report    string
	}
	if err := json.Unmarshal([]byte(stdout), &said); err != nil || len(said) != len(records) {
		t.Fatalf("%v: %s", err, stdout)
	}
	for i, r := range records {
		got := said[i]
		want, shown := max(r.Time.Unix(), 0), r.Traceback
		if shown == "" {
			shown = r.Message
		}
		m := got.Message
		if m.Message != r.Message || m.ErrorCode != r.Code || m.ExtraInfo.Callstack != r.Traceback || got.Timestamp != want {
			t.Errorf("torch reads %+v, want %+v", got, r)
		}
		if text := "traceback : " + strings.ReplaceAll(shown, "\n", "\n  "); !strings.Contains(got.Report, text) {
			t.Errorf("torchrun's report has no %q:\n%s", text, got.Report)
		}
	}
}
