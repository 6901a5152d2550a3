package draw

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// look is how a piece of text is shown.
type look int

const (
	lookPlain  look = iota
	lookFaint       // borders and what is not used
	lookStrong      // names
	lookShared      // a core of several workers
	lookWorker      // and above: the colours of the workers
)

// span is text of one look, without anything that a terminal would obey.
type span struct {
	text string
	look look
}

// line is one line of text.
type line []span

// cells returns the number of a terminal's cells that a text fills: of clean text, one for each character.
func cells(text string) int { return utf8.RuneCountInString(text) }

func (l line) cells() int {
	n := 0
	for _, s := range l {
		n += cells(s.text)
	}
	return n
}

// clean makes a text fit for a terminal: every character fills one cell. Others are shown as Go's escapes: control
// characters, bytes that are no UTF-8, marks that combine with the letter before, what changes the direction, and
// scripts of which a terminal may give a character two cells.
func clean(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && strings.HasPrefix(text[i:], string(utf8.RuneError)):
			b.WriteString(`\ufffd`)
		case r == utf8.RuneError:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case oneCell(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// firstWide is where the characters begin that may be two cells wide (U+231A, Unicode's EastAsianWidth.txt), apart from
// Hangul letters.
const firstWide = 0x231A

func oneCell(r rune) bool {
	if r < 0x80 {
		return r >= ' ' && r != 0x7f
	}
	return r < firstWide && unicode.IsPrint(r) && !unicode.Is(unicode.M, r) &&
		unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Common)
}

// wrap breaks a text into lines of at most width cells, at spaces or, where there is none, after a comma: lists of CPUs
// have no spaces. The first line may be shorter by what stands before it.
func wrap(text string, first, width int) []string {
	var lines []string
	rest := []rune(strings.TrimSpace(text))
	limit := first
	for len(rest) > max(limit, 1) {
		end := breakAt(rest, max(limit, 1))
		// A separator of facts is not needed where the line ends.
		lines = append(lines, strings.TrimRight(string(rest[:end]), " ·"))
		rest = []rune(strings.TrimLeft(string(rest[end:]), " ·"))
		limit = width
	}
	if len(rest) > 0 {
		lines = append(lines, string(rest))
	}
	return lines
}

// breakAt returns where to end a line of at most limit characters of a longer text: between two facts if that leaves less
// than half of the line empty, else at the last space, or after the last comma where a space would leave half empty.
func breakAt(text []rune, limit int) int {
	for i := limit; i > limit/2; i-- {
		if text[i] == '·' && text[i-1] == ' ' {
			return i
		}
	}
	comma := 0
	for i := limit; i > 0; i-- {
		switch {
		case text[i] == ' ':
			return i
		case text[i-1] == ',' && comma == 0:
			comma = i
		}
		if comma > 0 && i < limit/2 {
			break
		}
	}
	if comma > 0 {
		return comma
	}
	return limit
}
