package terminal

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// tabWidth is the distance between tab stops in cells.
const tabWidth = 8

// Sanitize returns s as one line that a terminal shows as it is, whatever s holds.
//
// Characters that Go calls printable (strconv.IsPrint) are kept. Tabs become blanks up to
// the next tab stop, and other kinds of blanks become a space. All else is shown as an
// escape: control characters and line ends (\x1b, \x0a, \u009b), invisible characters and
// those that change the direction of text (\u200b, \u202e), and bytes that are not UTF-8
// (\xff). Sanitizing a text twice changes nothing more.
func Sanitize(s string) string {
	var b strings.Builder
	stop := 0 // the length of b at the last tab stop
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		case r == '\t':
			b.WriteString(strings.Repeat(" ", tabWidth-Width(b.String()[stop:])%tabWidth))
			stop = b.Len()
		case isBlank(r):
			b.WriteByte(' ')
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// isBlank reports whether r is a space of any kind, such as the no-break space.
func isBlank(r rune) bool { return unicode.Is(unicode.Zs, r) }

// OneLine returns a message as one sanitized line, with a single space for every run of
// white space and line ends.
func OneLine(s string) string { return Sanitize(strings.Join(strings.Fields(s), " ")) }

// EscapeJSON returns a JSON text in which strings hold nothing that a terminal would obey:
// the characters that [Sanitize] escapes are written as JSON escapes (\u009b), which means
// the same to programs. Line ends between the values are kept.
func EscapeJSON(data []byte) []byte {
	var b strings.Builder
	for _, r := range string(data) {
		switch {
		case r == '\n' || strconv.IsPrint(r) || isBlank(r):
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default: // RFC 8259, section 7: as a surrogate pair
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		}
	}
	return []byte(b.String())
}
