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

// Record writes err to the worker's error file, from which the launcher reports it. It adds the
// stack of its caller. If formatting err with %+v gives more text than with %v, as for errors that
// carry a stack of their own, it adds that text instead.
//
// Only the first error counts, as the cause: Record does nothing if this process, or one that it
// has started, has recorded an error before. It also does nothing if err is nil, and if
// TORCHELASTIC_ERROR_FILE is not set, because then no launcher reads the file. Record returns an
// error only if the file cannot be written.
func Record(err error) error {
	if err == nil {
		return nil
	}
	r := describe(err)
	if r.Traceback == "" {
		r.Traceback = stack("")
	}
	return write(r)
}

// describe returns a record for an error. It formats err with package fmt, which handles nil
// pointers and methods that panic.
func describe(err error) errorfile.Record {
	r := errorfile.Record{Message: fmt.Sprint(err)}
	if detail := fmt.Sprintf("%+v", err); len(detail) > len(r.Message) {
		r.Traceback = detail
	}
	if strings.TrimSpace(r.Message) == "" {
		r.Message = fmt.Sprintf("%T without a message", err)
	}
	return r
}

// stack returns the calls on the stack, the innermost one first. It starts with the caller of the
// function called after, or with the caller of stack's caller if after is "".
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

// textLimit is the length of the longest text that is written, in bytes. The launcher does not
// read files of more than 1 MiB, and JSON may need six bytes for one.
const textLimit = 64 << 10

func shorten(text string) string {
	if len(text) <= textLimit {
		return text
	}
	return strings.ToValidUTF8(text[:textLimit], "") + " ... (cut)"
}

// write writes the error file, unless it exists already or TORCHELASTIC_ERROR_FILE is not set.
func write(r errorfile.Record) error {
	name := os.Getenv("TORCHELASTIC_ERROR_FILE")
	if name == "" {
		return nil
	}
	if err := writeNew(name, r); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot record the error for the launcher: %w", err)
	}
	return nil
}

// writeNew creates the file in one step, so that a reader never sees a part of it: it writes a
// file with another name, and link(2) then adds the right name unless it is taken.
func writeNew(name string, r errorfile.Record) error {
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
