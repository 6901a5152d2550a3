package report

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// bar is before each line of a worker's.
	bar = "  │ "
	// headLines and tailLines are how many lines of a long text are shown. A
	// traceback says where it comes from first and what is wrong last.
	headLines, tailLines = 10, 50
	// traceback is a heading of quote.
	traceback = "traceback"
	// maxLine is how many bytes of one line are shown.
	maxLine = 4 << 10
	// tabWidth is how far apart tab stops are, in cells.
	tabWidth = 8
)

// harmful reports whether a terminal might obey r rather than show it: the C0 and
// C1 controls (ECMA-48), the separators of lines and paragraphs, and what changes
// the direction of text (Unicode Standard Annex 9).
func harmful(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

// visible is s as one line that is safe to print.
func visible(s string) string {
	var b strings.Builder
	width := 0
	for _, r := range s { // bytes that are not UTF-8 come as U+FFFD
		shown := string(r)
		switch {
		case r == '\t':
			shown = strings.Repeat(" ", tabWidth-width%tabWidth)
		case harmful(r) && r < 0x100:
			shown = fmt.Sprintf(`\x%02x`, r)
		case harmful(r):
			shown = fmt.Sprintf(`\u%04x`, r)
		}
		b.WriteString(shown)
		width += cells(shown)
	}
	return b.String()
}

// clip is visible for a line that may be very long.
func clip(line string) string {
	if len(line) <= maxLine {
		return visible(line)
	}
	end := maxLine
	for end > maxLine-utf8.UTFMax && !utf8.RuneStart(line[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes left out)", visible(line[:end]), len(line)-end)
}

// split gives the lines of a text, without empty ones at its ends.
func split(text string) []string {
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

// quote prints what a worker said, under a heading of ours.
func (p *printer) quote(heading string, lines []string) {
	p.line("  " + heading + ":")
	for i, line := range lines {
		out := len(lines) - headLines - tailLines
		if out > 0 && i == headLines {
			p.wrap("  ", "  ", fmt.Sprintf("… %d lines left out; --report FILE has all", out))
		}
		if out <= 0 || i < headLines || i >= headLines+out {
			p.line(bar + clip(line))
		}
	}
}

// account is what the worker told of its failure, from the best source there is.
func (w Worker) account() (heading string, lines []string) {
	if w.Raised != nil {
		if lines = split(w.Raised.Traceback); lines != nil {
			return traceback, lines
		}
		if lines = split(w.Raised.Message); lines != nil {
			return "message", lines
		}
	}
	return "last lines of its stderr", split(strings.Join(w.LastStderr, "\n"))
}

// gist is the one line to know of a worker's failure, "" when it told nothing. It
// is the first line of the message, where exceptions name themselves: the last line
// of a traceback is often advice (CUDA's errors end with how to debug them).
func (w Worker) gist() string {
	if w.Raised != nil {
		if lines := split(w.Raised.Message); lines != nil {
			return clip(strings.TrimSpace(lines[0]))
		}
	}
	if _, lines := w.account(); lines != nil {
		return clip(strings.TrimSpace(lines[len(lines)-1]))
	}
	return ""
}
