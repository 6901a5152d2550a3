package launcher

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// textSize returns how many bytes the error files of workers have.
func textSize(workers []report.Worker) (size int) {
	for _, w := range workers {
		if w.Raised != nil {
			size += len(w.Raised.Message) + len(w.Raised.Traceback)
		}
	}
	return size
}

func TestEarlierFailures(t *testing.T) {
	var e earlierFailures
	long := strings.Repeat("ü", 450_000)
	for i := range 300 {
		e.add(report.Worker{Attempt: i,
			Raised: &report.Raised{Message: fmt.Sprint(i), Traceback: long}})
	}
	if len(e.list) != earlierKept || e.leftOut != 300-earlierKept {
		t.Fatalf("%d are kept and %d are left out", len(e.list), e.leftOut)
	}
	for i, w := range e.list {
		attempt := i
		if i >= earlierKept/2 {
			attempt = 300 - earlierKept + i
		}
		whole := i == 0 || i == len(e.list)-1
		if w.Attempt != attempt || w.Raised.Message != fmt.Sprint(attempt) ||
			(w.Raised.Traceback == long) != whole || !utf8.ValidString(w.Raised.Traceback) {
			t.Errorf("entry %d is of attempt %d with %d bytes", i, w.Attempt,
				len(w.Raised.Traceback))
		}
	}
	if size := textSize(e.list); size > 2*len(long)+earlierKept*2*shortText {
		t.Errorf("they have %d bytes", size)
	}
}

func TestShorten(t *testing.T) {
	same := strings.Repeat("x", shortText)
	if got := shorten(same); got != same {
		t.Errorf("a text of %d bytes was shortened to %d", len(same), len(got))
	}
	text := "first line\n" + strings.Repeat("x", 100_000) + "\nValueError: why"
	got := shorten(text)
	if len(got) > shortText+100 || !strings.HasPrefix(got, "first line\n") ||
		!strings.HasSuffix(got, "\nValueError: why") ||
		!strings.Contains(got, fmt.Sprintf("\n[%d bytes are left out]\n", len(text)-shortText)) {
		t.Errorf("it was shortened to %d bytes: %.40q … %.40q", len(got), got, got[len(got)-40:])
	}
}
