package worker

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func recordName(t *testing.T) string { return filepath.Join(t.TempDir(), "error-0-1.json") }

func TestRun(t *testing.T) {
	const pkg = `github\.com/gpulaunch/gpulaunch/launcher/worker\.`
	const explode = `^` + pkg + `explode\n`
	for program, c := range map[string]struct{ message, traceback string }{
		"error":        {`open "model": not there`, `^$`},
		"detailed":     {"short", `^short\nits\.own\.stack\n\tfile\.go:1$`},
		"nothing said": {"*errors.errorString without a message", `^$`},
		"nil pointer":  {"<nil>", `^$`},
		"panic": {"panic: out of lemons",
			explode + `\t/.*/main_test\.go:\d+\n` + pkg + `init\.`},
		"panic error":    {"panic: short", explode},
		"panic nil":      {"panic: panic called with nil argument", explode},
		"nil map":        {"panic: assignment to entry in nil map", pkg + `dereference\n`},
		"panic in defer": {"panic: second", explode},
		"recursion": {"panic: at the bottom",
			`^(` + pkg + `fall\n.*\n)+\.\.\. and more calls\n$`},
		"goexit": {"runtime.Goexit was called", `^` + pkg + `leaveEarly\n`},
	} {
		t.Run(program, func(t *testing.T) {
			start := time.Now().Truncate(time.Second)
			o := runWorker(t, program, recordName(t))
			if o.code != 1 || o.stdout != "rank 1\n" || o.record == nil {
				t.Fatalf("%s, want exit code 1, stdout \"rank 1\\n\" and a record", o)
			}
			r := o.record
			if r.Message != c.message {
				t.Errorf("the message is %q, want %q", r.Message, c.message)
			}
			if !regexp.MustCompile(c.traceback).MatchString(r.Traceback) {
				t.Errorf("the traceback does not match %s:\n%s", c.traceback, r.Traceback)
			}
			if r.Time.Before(start) || r.Time.After(time.Now()) || r.Code != 0 {
				t.Errorf("the time is %s and the code %d, want a time since %s and no code",
					r.Time, r.Code, start)
			}
			want := r.Message + "\n" + r.Traceback
			if program == "detailed" {
				want = r.Traceback // begins with the message
			}
			if o.stderr != strings.TrimRight(want, "\n")+"\n" {
				t.Errorf("the standard error is\n%s\nwant\n%s", o.stderr, want)
			}
		})
	}
}

func TestRunReturns(t *testing.T) {
	o := runWorker(t, "well", recordName(t))
	if o.code != 0 || o.stdout != "rank 1\nreturned\n" || o.stderr != "" || o.record != nil {
		t.Errorf("%s, want exit code 0, that Run returned, and no error", o)
	}
}

// TestRunWithoutLauncher starts a worker as a user could by mistake.
func TestRunWithoutLauncher(t *testing.T) {
	const want = "RANK is not set: start this program with gpulaunch run"
	o := runWorker(t, "well", "", "RANK=")
	if o.code != 1 || o.stdout != "" || o.stderr != want+"\n" {
		t.Errorf("%s, want exit code 1 and the message %q", o, want)
	}
	o = runWorker(t, "well", recordName(t), "RANK=")
	if o.record == nil || o.record.Message != want {
		t.Errorf("%s, want the message %q in the record", o, want)
	}
}

// TestRunUnrecorded has workers whose error file cannot be written or exists already.
func TestRunUnrecorded(t *testing.T) {
	o := runWorker(t, "error", filepath.Join(t.TempDir(), "gone", "error.json"))
	want := "open \"model\": not there\ncannot record the error for the launcher: open "
	if o.code != 1 || !strings.HasPrefix(o.stderr, want) || strings.Count(o.stderr, "\n") != 2 {
		t.Errorf("%s, want exit code 1 and two lines that begin with %q", o, want)
	}
	o = runWorker(t, "error once", recordName(t))
	if o.code != 1 || o.stderr != "the rest\n" ||
		o.record == nil || o.record.Message != "the cause" {
		t.Errorf("%s, want the first error in the record and the second one on stderr", o)
	}
}

func TestRunLongMessage(t *testing.T) {
	o := runWorker(t, "long", recordName(t))
	if o.record == nil || !strings.HasSuffix(o.record.Message, "\x01 ... (cut)") {
		t.Fatalf("exit code %d, record %v, want a record with a message that is cut",
			o.code, o.record)
	}
	if len(o.stderr) < 3<<20 {
		t.Errorf("%d bytes were printed, want the whole message", len(o.stderr))
	}
}

func TestRecord(t *testing.T) {
	here := regexp.MustCompile(`^github\.com/gpulaunch/gpulaunch/launcher/worker\.recording\n` +
		`\t/.*main_test\.go:\d+\n.*\n.*\n.*TestMain\n`)
	name := recordName(t)
	o := runWorker(t, "record", name)
	if o.code != 0 || o.stdout != "returned\n" || o.stderr != "" {
		t.Errorf("%s, want exit code 0 and no complaint", o)
	}
	if o.record == nil || o.record.Message != "seen here" ||
		!here.MatchString(o.record.Traceback) {
		t.Fatalf("%s, want the message \"seen here\" and a stack like %s", o, here)
	}
	// The first error stays, also when another process records one.
	o = runWorker(t, "record detailed", name)
	if o.stdout != "returned\n" || o.record == nil || o.record.Message != "seen here" {
		t.Errorf("%s, want no complaint and the record of the first process", o)
	}
	const detail = "short\nits.own.stack\n\tfile.go:1"
	o = runWorker(t, "record detailed", recordName(t))
	if o.record == nil || o.record.Message != "short" || o.record.Traceback != detail {
		t.Errorf("%s, want the message \"short\" and the stack %q", o, detail)
	}
	o = runWorker(t, "record nil", recordName(t))
	if o.code != 0 || o.stdout != "returned\n" || o.record != nil {
		t.Errorf("%s, want no record of a nil error", o)
	}
	if o = runWorker(t, "record", ""); o.code != 0 || o.stdout != "returned\n" {
		t.Errorf("%s, want no complaint without an error file", o)
	}
	const want = "cannot record the error for the launcher: open /proc/none/.record-"
	o = runWorker(t, "record", "/proc/none/error.json")
	if o.code != 0 || !strings.HasPrefix(o.stdout, want) {
		t.Errorf("%s, want the error %q", o, want)
	}
}

func TestRecordTogether(t *testing.T) {
	o := runWorker(t, "record together", recordName(t))
	if o.code != 0 || o.stdout != "returned\n" ||
		o.record == nil || !strings.HasPrefix(o.record.Message, "error ") {
		t.Errorf("%s, want one of the errors and no complaint", o)
	}
}

// TestRecordReplacesNothing wants Record neither to replace nor to follow a link to a missing file
// that has the error file's name.
func TestRecordReplacesNothing(t *testing.T) {
	name, target := recordName(t), recordName(t)
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
	if o := runWorker(t, "record", name); o.code != 0 || o.stdout != "returned\n" {
		t.Errorf("%s, want no complaint", o)
	}
	if _, err := os.Lstat(target); !os.IsNotExist(err) {
		t.Errorf("Record created the file that the link names (%v)", err)
	}
	if got, err := os.Readlink(name); got != target {
		t.Errorf("the link leads to %q (%v), want %q", got, err, target)
	}
}
