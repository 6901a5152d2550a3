package report

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

const (
	// bar stands before each line that a worker wrote.
	bar = "  │ "
	// headLines and tailLines are how many lines of a long text are shown. A traceback
	// begins with where the error comes from, and ends with what is wrong.
	headLines, tailLines = 10, 50
	// traceback is the heading of a traceback.
	traceback = "traceback"
	// maxLine is how many bytes of one line are shown.
	maxLine = 4 << 10
)

// clip returns a line that may be very long as sanitized text.
func clip(line string) string {
	if len(line) <= maxLine {
		return terminal.Sanitize(line)
	}
	end := maxLine
	for end > maxLine-utf8.UTFMax && !utf8.RuneStart(line[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes left out)", terminal.Sanitize(line[:end]), len(line)-end)
}

// textLines returns the lines of a text, without blank ones at its start and end.
func textLines(text string) []string {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	blank := func(line string) bool { return strings.TrimSpace(line) == "" }
	first := slices.IndexFunc(lines, func(line string) bool { return !blank(line) })
	if first < 0 {
		return nil
	}
	for blank(lines[len(lines)-1]) {
		lines = lines[:len(lines)-1]
	}
	return lines[first:]
}

// quote prints what a worker wrote, under a heading.
func (p *printer) quote(heading string, lines []string) {
	p.line("  " + heading + ":")
	omitted := len(lines) - headLines - tailLines
	for i, line := range lines {
		if omitted > 0 && i == headLines {
			p.wrap("  ", "  ", fmt.Sprintf("… %d lines left out; --report FILE has all", omitted))
		}
		if omitted <= 0 || i < headLines || i >= headLines+omitted {
			p.line(bar + clip(line))
		}
	}
}

// failureText returns what the worker wrote about its failure: its traceback, else the message
// of its exception, else the last lines of its standard error. There are no lines if it wrote
// none of these.
func (w Worker) failureText() (heading string, lines []string) {
	if w.Raised != nil {
		if lines = textLines(w.Raised.Traceback); lines != nil {
			return traceback, lines
		}
		if lines = textLines(w.Raised.Message); lines != nil {
			return "message", lines
		}
	}
	return "last lines of its stderr", textLines(strings.Join(w.LastStderr, "\n"))
}

// summary returns the line that says most about a worker's failure, or "" if the worker wrote
// nothing. It is the first line of the exception's message, where exceptions name themselves:
// the last line of a traceback is often advice (CUDA's errors end with how to debug them).
func (w Worker) summary() string {
	if w.Raised != nil {
		if lines := textLines(w.Raised.Message); lines != nil {
			return clip(strings.TrimSpace(lines[0]))
		}
	}
	if _, lines := w.failureText(); lines != nil {
		return clip(strings.TrimSpace(lines[len(lines)-1]))
	}
	return ""
}
