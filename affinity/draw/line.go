package draw

import (
	"strings"
	"unicode/utf8"

	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// look is how a piece of text is shown.
type look int

const (
	lookPlain  look = iota
	lookFaint       // borders, and cores that no worker uses
	lookStrong      // names
	lookShared      // a core of several workers
	lookWorker      // this and all higher values: the colours of the workers
)

// span is sanitized text of one look.
type span struct {
	text string
	look look
}

// line is one line of text.
type line []span

// width returns the number of a terminal's cells that a line fills.
func (l line) width() int {
	n := 0
	for _, s := range l {
		n += terminal.Width(s.text)
	}
	return n
}

// wrap breaks a sanitized text into lines of at most width cells, the first one of at most
// first cells. It breaks between facts, at spaces, or after commas: lists of CPUs have no
// spaces, and terminal.Wrap would cut numbers in them.
func wrap(text string, first, width int) []string {
	var lines []string
	rest := strings.TrimSpace(text)
	limit := max(first, 1)
	for terminal.Width(rest) > limit {
		end := breakAt(rest, limit)
		// The separator between two facts is not needed where the line ends.
		lines = append(lines, strings.TrimRight(rest[:end], " ·"))
		rest = strings.TrimLeft(rest[end:], " ·")
		limit = max(width, 1)
	}
	if rest != "" {
		lines = append(lines, rest)
	}
	return lines
}

// breakAt returns the length in bytes of a line of at most limit cells that a longer text begins
// with. The line ends between two facts if that leaves less than half of it empty, else at the
// last space, or after the last comma if a space would leave half of it empty.
func breakAt(text string, limit int) int {
	head := terminal.Cut(text, limit)
	if head == "" { // a wide character does not fit into a single cell
		_, size := utf8.DecodeRuneInString(text)
		return size
	}
	// The line may also end before the character that follows it.
	half := len(terminal.Cut(text, limit/2))
	for i := len(head); i > half; i-- {
		if strings.HasPrefix(text[i:], "·") && text[i-1] == ' ' {
			return i
		}
	}
	comma := 0
	for i := len(head); i > 0; i-- {
		switch {
		case text[i] == ' ':
			return i
		case text[i-1] == ',' && comma == 0:
			comma = i
		}
		if comma > 0 && i < half {
			break
		}
	}
	if comma > 0 {
		return comma
	}
	return len(head)
}
