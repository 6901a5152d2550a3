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
	for program, c := range map[string]struct{ message, traceback string }{
		"error":          {`open "model": not there`, `^$`},
		"detailed":       {"short", `^short\nits\.own\.stack\n\tfile\.go:1$`},
		"nothing said":   {"*errors.errorString without a text", `^$`},
		"nil pointer":    {"<nil>", `^$`},
		"panic":          {"panic: out of lemons", `^` + pkg + `explode\n\t/.*/main_test\.go:\d+\n` + pkg + `init\.`},
		"panic error":    {"panic: short", `^` + pkg + `explode\n`},
		"panic nil":      {"panic: panic called with nil argument", `^` + pkg + `explode\n`},
		"nil map":        {"panic: assignment to entry in nil map", pkg + `dereference\n`},
		"panic in defer": {"panic: second", `^` + pkg + `explode\n`},
		"recursion":      {"panic: at the bottom", `^(` + pkg + `fall\n.*\n)+\.\.\. and more calls\n$`},
		"goexit":         {"runtime.Goexit was called", `^` + pkg + `leaveEarly\n`},
	} {
		t.Run(program, func(t *testing.T) {
			start := time.Now().Truncate(time.Second)
			e := worker(t, program, recordName(t))
			if e.code != 1 || e.stdout != "rank 1\n" {
				t.Errorf("exit code %d, output %q", e.code, e.stdout)
			}
			if e.record == nil {
				t.Fatalf("no record\n%s", e.stderr)
			}
			r := e.record
			if r.Message != c.message || !regexp.MustCompile(c.traceback).MatchString(r.Traceback) {
				t.Errorf("message %q, want %q; traceback, wanted %s:\n%s", r.Message, c.message, c.traceback, r.Traceback)
			}
			if r.Time.Before(start) || r.Time.After(time.Now()) || r.Code != 0 {
				t.Errorf("at %s with code %d", r.Time, r.Code)
			}
			want := r.Message + "\n" + r.Traceback
			if program == "detailed" {
				want = r.Traceback // begins with the message
			}
			if e.stderr != strings.TrimRight(want, "\n")+"\n" {
				t.Errorf("the standard error is\n%s\nwant\n%s", e.stderr, want)
			}
		})
	}
}

func TestRunReturns(t *testing.T) {
	e := worker(t, "well", recordName(t))
	if e.code != 0 || e.stdout != "rank 1\nreturned\n" || e.stderr != "" || e.record != nil {
		t.Errorf("%+v", e)
	}
}

// TestRunWithoutLauncher: the program was started by hand.
func TestRunWithoutLauncher(t *testing.T) {
	const want = "RANK is not set: start this program with gpulaunch run"
	e := worker(t, "well", "", "RANK=")
	if e.code != 1 || e.stdout != "" || e.stderr != want+"\n" {
		t.Errorf("%+v", e)
	}
	if e = worker(t, "well", recordName(t), "RANK="); e.record == nil || e.record.Message != want {
		t.Errorf("%+v", e)
	}
}

// TestRunUnrecorded: the launcher's folder is gone, or holds a record already.
func TestRunUnrecorded(t *testing.T) {
	e := worker(t, "error", filepath.Join(t.TempDir(), "gone", "error.json"))
	want := "open \"model\": not there\nthe launcher cannot be told of the error: open "
	if e.code != 1 || !strings.HasPrefix(e.stderr, want) || strings.Count(e.stderr, "\n") != 2 {
		t.Errorf("%+v", e)
	}
	e = worker(t, "error once", recordName(t))
	if e.code != 1 || e.record == nil || e.record.Message != "the cause" || e.stderr != "the rest\n" {
		t.Errorf("%+v %+v", e, e.record)
	}
}

func TestRunLongMessage(t *testing.T) {
	e := worker(t, "long", recordName(t))
	if e.record == nil || !strings.HasSuffix(e.record.Message, "\x01 ... (cut)") {
		t.Fatalf("%d, %v", e.code, e.record)
	}
	if len(e.stderr) < 3<<20 {
		t.Errorf("%d bytes on the standard error", len(e.stderr))
	}
}

func TestRecord(t *testing.T) {
	here := regexp.MustCompile(`^github\.com/gpulaunch/gpulaunch/launcher/worker\.recording\n\t/.*main_test\.go:\d+\n.*\n.*\n.*TestMain\n`)
	name := recordName(t)
	e := worker(t, "record", name)
	if e.code != 0 || e.stdout != "returned\n" || e.stderr != "" {
		t.Errorf("%+v", e)
	}
	if e.record == nil || e.record.Message != "seen here" || !here.MatchString(e.record.Traceback) {
		t.Fatalf("%+v", e.record)
	}
	// The first error is kept, be it another process's.
	if again := worker(t, "record detailed", name); again.stdout != "returned\n" || again.record.Message != "seen here" {
		t.Errorf("%+v %+v", again, again.record)
	}
	e = worker(t, "record detailed", recordName(t))
	if e.record == nil || e.record.Message != "short" || e.record.Traceback != "short\nits.own.stack\n\tfile.go:1" {
		t.Errorf("%+v", e.record)
	}
	if e = worker(t, "record nil", recordName(t)); e.code != 0 || e.stdout != "returned\n" || e.record != nil {
		t.Errorf("%+v", e)
	}
	if e = worker(t, "record", ""); e.code != 0 || e.stdout != "returned\n" {
		t.Errorf("%+v", e)
	}
	e = worker(t, "record", "/proc/none/error.json")
	if e.code != 0 || !strings.HasPrefix(e.stdout, "the launcher cannot be told of the error: open /proc/none/.record-") {
		t.Errorf("%+v", e)
	}
}

func TestRecordTogether(t *testing.T) {
	e := worker(t, "record together", recordName(t))
	if e.code != 0 || e.stdout != "returned\n" || e.record == nil || !strings.HasPrefix(e.record.Message, "error ") {
		t.Errorf("%+v %+v", e, e.record)
	}
}

// TestRecordKeepsWhatIsThere: not even a link without an end is replaced or followed.
func TestRecordKeepsWhatIsThere(t *testing.T) {
	name, target := recordName(t), recordName(t)
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
	if e := worker(t, "record", name); e.code != 0 || e.stdout != "returned\n" {
		t.Errorf("%+v", e)
	}
	if _, err := os.Lstat(target); !os.IsNotExist(err) {
		t.Errorf("written through a link (%v)", err)
	}
	if got, err := os.Readlink(name); got != target {
		t.Errorf("the link became %q, %v", got, err)
	}
}
