package launcher

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gpulaunch/gpulaunch/launcher/report"
)

// A job may be restarted without end, and each worker may leave 1 MiB of text each time. These
// limits keep the memory and the report of a job bounded.
const (
	// earlierKept is how many root causes of earlier attempts are kept: the first half of them and
	// the latest half. report.Report.Earlier documents the number.
	earlierKept = 32
	// recordsLimit is how many bytes the error files of one attempt may have together, besides that
	// of the root cause. Those beyond it are shortened.
	recordsLimit = 8 << 20
	// shortText is the length of a shortened text in bytes. It has room for a traceback of some 60
	// frames.
	shortText = 8 << 10
)

// earlierFailures holds the root causes of the attempts before the last.
type earlierFailures struct {
	list    []report.Worker
	leftOut int // how many are not in the list
}

// add adds the root cause of an attempt.
func (e *earlierFailures) add(w report.Worker) {
	if n := len(e.list); n > 1 {
		shortenRecord(&e.list[n-1]) // only the first and the latest are kept whole
	}
	e.list = append(e.list, w)
	if len(e.list) > earlierKept {
		e.list = slices.Delete(e.list, earlierKept/2, earlierKept/2+1)
		e.leftOut++
	}
}

// readRecords reads the error files of the workers that failed. It reads that of the root cause
// whole.
func (a *Attempt) readRecords(workers []report.Worker) {
	if a.folder == nil {
		return
	}
	left := recordsLimit
	for i := range workers {
		w := &workers[i]
		if w.OK() {
			continue
		}
		var err error
		if w.Raised, err = a.folder.Read(a.number, w.Rank); err != nil {
			w.ErrorFile = err.Error()
		}
		if w.Raised == nil || w.RootCause {
			continue
		}
		if size := len(w.Raised.Message) + len(w.Raised.Traceback); size > left {
			shortenRecord(w)
		} else {
			left -= size
		}
	}
}

// shortenRecord shortens the texts of a worker's error file.
func shortenRecord(w *report.Worker) {
	if w.Raised == nil {
		return
	}
	short := *w.Raised
	short.Message, short.Traceback = shorten(short.Message), shorten(short.Traceback)
	w.Raised = &short
}

// shorten returns a text of about shortText bytes at most. A quarter of it is from the text's
// beginning and the rest from its end, where a traceback names the exception.
func shorten(text string) string {
	if len(text) <= shortText {
		return text
	}
	head, tail := shortText/4, len(text)-3*shortText/4
	for !utf8.RuneStart(text[head]) {
		head--
	}
	for tail < len(text) && !utf8.RuneStart(text[tail]) {
		tail++
	}
	return strings.Join([]string{text[:head], fmt.Sprintf("[%d bytes are left out]", tail-head),
		text[tail:]}, "\n")
}
