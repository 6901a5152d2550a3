package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/internal/errorfile"
)

// Record leaves err for the launcher's report, with the stack of the caller or, if err
// has more to say when formatted with %+v than with %v (as errors that carry their own
// stack do), with that. Only the first error of a process, and of processes that it has
// started, is kept: it is the cause. Record does nothing if err is nil or if no launcher
// wants to know (TORCHELASTIC_ERROR_FILE is not set). The error that it returns says
// why the launcher will not hear of it.
func Record(err error) error {
	if err == nil {
		return nil
	}
	r := describe(err)
	if r.Traceback == "" {
		r.Traceback = stack("")
	}
	return leave(r)
}

// describe words an error. fmt does it, because err may be a nil pointer or panic.
func describe(err error) errorfile.Record {
	r := errorfile.Record{Message: fmt.Sprint(err)}
	if detail := fmt.Sprintf("%+v", err); len(detail) > len(r.Message) {
		r.Traceback = detail
	}
	if strings.TrimSpace(r.Message) == "" {
		r.Message = fmt.Sprintf("%T without a text", err)
	}
	return r
}

// stack lists the calls that led here, the last one first, from the one that called
// the function named after on; without a name, from the caller's caller on.
func stack(after string) string {
	pcs := make([]uintptr, 200)
	pcs = pcs[:runtime.Callers(3, pcs)]
	frames := runtime.CallersFrames(pcs)
	var b strings.Builder
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if after == "" {
			fmt.Fprintf(&b, "%s\n\t%s:%d\n", f.Function, f.File, f.Line)
		} else if f.Function == after {
			after = ""
		}
	}
	if len(pcs) == cap(pcs) {
		b.WriteString("... and more calls\n")
	}
	return b.String()
}

// textLimit bounds each text, in bytes: a file of more than 1 MiB is not read, and in
// JSON a byte can become six.
const textLimit = 64 << 10

func shorten(text string) string {
	if len(text) <= textLimit {
		return text
	}
	return strings.ToValidUTF8(text[:textLimit], "") + " ... (cut)"
}

// leave writes the record, unless there is one. A reader finds all of it or nothing:
// it is written under another name, and link(2) gives it the right one only if that is
// free.
func leave(r errorfile.Record) error {
	name := os.Getenv("TORCHELASTIC_ERROR_FILE")
	if name == "" {
		return nil
	}
	if err := leaveAs(name, r); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("the launcher cannot be told of the error: %w", err)
	}
	return nil
}

func leaveAs(name string, r errorfile.Record) error {
	r.Message, r.Traceback, r.Time = shorten(r.Message), shorten(r.Traceback), time.Now()
	data, err := errorfile.Encode(r)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(name), ".record-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(data)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Link(file.Name(), name)
}
