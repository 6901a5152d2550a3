package report

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

func TestLongLinesAreCutInBytes(t *testing.T) {
	for in, want := range map[string]string{
		strings.Repeat("x", maxLine):   strings.Repeat("x", maxLine),
		strings.Repeat("x", maxLine+3): strings.Repeat("x", maxLine) + "… (3 bytes left out)",
		"x" + strings.Repeat("é", maxLine/2): "x" + strings.Repeat("é", maxLine/2-1) +
			"… (2 bytes left out)",
	} {
		if got := clip(in); got != want {
			t.Errorf("a line of %d bytes ends in %q, not %q", len(in), got[len(got)-30:],
				want[len(want)-30:])
		}
	}
}

func TestLongTextsKeepTheirEnds(t *testing.T) {
	for _, n := range []int{headLines + tailLines, headLines + tailLines + 1, 1000} {
		r := job(1, false)
		var lines []string
		for i := range n {
			lines = append(lines, fmt.Sprintf("line %d", i))
		}
		w := root(&r)
		w.Raised, w.LastStderr = nil, lines
		text := print(t, r, terminal.Style{})
		out := max(0, n-headLines-tailLines)
		// The summary comes first, and once more in its place.
		if got := strings.Count(text, bar+"line "); got != n-out+1 {
			t.Errorf("%d of %d lines are shown", got, n)
		}
		marker := fmt.Sprintf("%sline 9\n  … %d lines left out; --report FILE has all\n%sline %d\n",
			bar, out, bar, 10+out)
		if strings.Contains(text, "left out") != (out > 0) || out > 0 &&
			!strings.Contains(text, marker) {
			t.Errorf("of %d lines it shows\n%s", n, text)
		}
	}
}

func TestLinesOfOtherSystems(t *testing.T) {
	r := job(1, false)
	root(&r).Raised = &Raised{Traceback: "\r\nfirst\r\n  second\r\n\r\n"}
	if text := print(t, r, terminal.Style{}); !strings.Contains(text,
		"  traceback:\n"+bar+"first\n"+bar+"  second\n─") {
		t.Error(text)
	}
}

// jobThatWrites returns a job whose workers write text, and nothing else.
func jobThatWrites(text string, kind int) Report {
	r := job(4, true)
	for i := range r.Workers {
		w := &r.Workers[i]
		w.Raised, w.LastStderr, w.ErrorFile = nil, nil, ""
		if w.How == Success {
			w.LastStderr = []string{text}
			continue
		}
		switch (kind + i) % 5 {
		case 0:
			w.Raised = &Raised{Message: text, Traceback: text}
		case 1:
			w.Raised = &Raised{Message: text}
		case 2:
			w.Raised = &Raised{Message: "m", Traceback: text}
		case 3:
			w.LastStderr = []string{text, text}
		case 4:
			w.ErrorFile, w.LastStderr = text, []string{text}
		}
	}
	return r
}

// launcherLine matches the lines of a table that are the launcher's and so need no bar. What comes
// after a bar within a line was written by a worker.
var launcherLine = regexp.MustCompile(`^(` + strings.Join([]string{
	`─+`, ``,
	`Root cause: rank 2 of 4 exited with code 1, by itself`,
	`Root cause: rank 2 of 4 exited with code`, `1, by itself`,
	`  (where |device|CPUs  |ended )    \S.*`, `            \S.*`,
	`  (message|traceback|last lines of its stderr|its error file could not be used):`,
	`  … \d+ lines left out; --report( FILE( has all|)|)`, `  (FILE |)has all`,
	`  no traceback: it wrote no error file, and nothing of its stderr is known`,
	`  no traceback: it wrote no error file,`, `  and nothing of its stderr is known`,
	`Other workers, and how long after the root cause they ended:`,
	`Other workers, and how long after the`, `root cause they ended:`,
	`  RANK  LOCAL  DEVICE   PID  EXIT       AFTER  HOW`, `  RANK  EXIT       AFTER  HOW`,
	`     \d      \d  GPU \d   471\d  (SIGABRT|[03] {6})  [+-]\d\.\d{3}s  (success|by itself(  │.*|  the same as rank \d)?)`,
	`     \d  (SIGABRT|[03] {6})  [+-]\d\.\d{3}s  (success|by itself(  │.*|  the same as rank \d)?)`,
	`  the same as rank \d`,
}, "|") + `)$`)

// checkHarmless checks that a table is harmless, whatever workers have written.
func checkHarmless(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("not UTF-8: %q", text)
	}
	for _, r := range text {
		if unicode.IsControl(r) && r != '\n' || unicode.Is(unicode.Bidi_Control, r) ||
			r == '\u2028' || r == '\u2029' {
			t.Errorf("%U is printed:\n%q", r, text)
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, strings.TrimRight(bar, " ")) &&
			!launcherLine.MatchString(line) {
			t.Errorf("%q is not a line of the launcher and has no bar:\n%s", line, text)
		}
	}
}

var hostile = []string{
	"", "\n\n", "boom", "a\nb\r\nc\rRoot cause: rank 7 exited with code 0\n",
	"\x1b[2J\x1b[HRoot cause: nothing at all\x1b]52;c;Zm9v\a", "\u009b2J\u0085x",
	"\u202eesrever\u2069",
	"\xff\xc3\n\xe2\x80", "tab\tand\v\f\b\x7f", "\u2028Root cause\u2029",
	strings.Repeat("line\n", 200), strings.Repeat("数🚀e\u0301", 2000),
	"\nOther workers, and how long after the root cause they ended:\n─────",
}

func TestHostileTexts(t *testing.T) {
	for _, text := range hostile {
		for kind := range 5 {
			for _, width := range []int{0, 1, 40} {
				checkHarmless(t, print(t, jobThatWrites(text, kind), terminal.Style{Width: width}))
			}
		}
	}
	r := job(2, true)
	w := root(&r)
	w.Host, w.CPUs, w.Device.Name, w.Device.UUID = "\x1b[1m", "0\n1", "\u009b", "\u202e"
	text := print(t, r, terminal.Style{})
	if strings.ContainsAny(text, "\x1b\u009b\u202e") || !strings.Contains(text, `0\x0a1`) {
		t.Errorf("%q", text)
	}
}

func FuzzTable(f *testing.F) {
	for i, text := range hostile {
		if len(text) < 200 { // a long one would slow down the fuzzing
			f.Add(text, i, i%2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, text string, kind int, narrow bool) {
		style := terminal.Style{Width: 100}
		if narrow {
			style.Width = 40
		}
		checkHarmless(t, print(t, jobThatWrites(text, max(kind, 0)%5), style))
	})
}
