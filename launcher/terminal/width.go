package terminal

import (
	"strings"
	"unicode/utf8"

	"github.com/clipperhouse/displaywidth"
)

// cells measures text that may have been painted: escape sequences take no room.
var cells = displaywidth.Options{ControlSequences: true}

// Width returns how many cells of a terminal s fills: two for each wide character, and none
// for a mark that is drawn onto the character before.
func Width(s string) int { return cells.String(s) }

// Cut returns the longest beginning of s that fits into width cells.
func Cut(s string, width int) string {
	if width <= 0 {
		return ""
	}
	return cells.TruncateString(s, width, "")
}

// Truncate returns s if it fits into width cells, and otherwise its beginning and "…".
func Truncate(s string, width int) string {
	if width <= 0 {
		return ""
	}
	return cells.TruncateString(s, width, "…")
}

// Pad returns s filled up with spaces to width cells.
func Pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-Width(s)))
}

// Wrap breaks s between words into lines of at most width cells. A word that is longer than
// a line is cut. It returns at least one line, and just one if width is 0.
func Wrap(s string, width int) []string { return wrap(s, width, true) }

// WrapWords is like [Wrap], but never cuts a word: it is for text with commands that a user
// may want to copy. A word that is longer than a line has a line to itself.
func WrapWords(s string, width int) []string { return wrap(s, width, false) }

// Hang returns text in lines of at most width cells, with head before the first line and as much
// blank space before the others. Words are not cut, as in [WrapWords]. Every line ends with a
// newline. If width is 0, there is one line.
func Hang(head, text string, width int) string {
	indent := Width(head)
	if width > 0 {
		width = max(1, width-indent)
	}
	return head + strings.Join(WrapWords(text, width), "\n"+strings.Repeat(" ", indent)) + "\n"
}

func wrap(s string, width int, cut bool) []string {
	words := strings.Fields(s)
	if width <= 0 || len(words) == 0 {
		return []string{strings.Join(words, " ")}
	}
	var lines []string
	line := ""
	for i, word := range words {
		switch {
		case i == 0:
			line = word
		case Width(line+" "+word) <= width: // a mark may widen the space, so widths do not add up
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
		for cut && Width(line) > width {
			head := Cut(line, width)
			if head == "" { // a wide character does not fit into a single cell
				_, size := utf8.DecodeRuneInString(line)
				head = line[:size]
			}
			if len(head) == len(line) {
				break
			}
			lines = append(lines, head)
			line = line[len(head):]
		}
	}
	return append(lines, line)
}
