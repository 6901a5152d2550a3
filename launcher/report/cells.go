package report

import (
	"strings"
	"unicode"
)

// wide are the main blocks of characters that take two cells: those that the
// Unicode Standard Annex 11 calls wide or fullwidth, and pictographs. Where it is
// not exact, a column is out of line by a cell.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1}, {Lo: 0x2e80, Hi: 0x303e, Stride: 1}, {Lo: 0x3041, Hi: 0xa4cf, Stride: 1},
		{Lo: 0xac00, Hi: 0xd7a3, Stride: 1}, {Lo: 0xf900, Hi: 0xfaff, Stride: 1}, {Lo: 0xfe30, Hi: 0xfe6f, Stride: 1},
		{Lo: 0xff00, Hi: 0xff60, Stride: 1}, {Lo: 0xffe0, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x1f300, Hi: 0x1f64f, Stride: 1}, {Lo: 0x1f680, Hi: 0x1f6ff, Stride: 1}, {Lo: 0x1f900, Hi: 0x1faff, Stride: 1},
		{Lo: 0x20000, Hi: 0x3fffd, Stride: 1},
	},
}

// cells is how many columns of a terminal s takes.
func cells(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf): // drawn onto what is before
		case unicode.Is(wide, r):
			n += 2
		default:
			n++
		}
	}
	return n
}

// cut is the longest beginning of s that takes no more than width cells.
func cut(s string, width int) string {
	n := 0
	for i, r := range s {
		if n += cells(string(r)); n > width {
			return s[:i]
		}
	}
	return s
}

// shorten is s in no more than width cells.
func shorten(s string, width int) string {
	if cells(s) <= width {
		return s
	}
	return cut(s, width-1) + "…"
}

// pad fills s up to width cells, on the left if right is set.
func pad(s string, width int, right bool) string {
	blank := strings.Repeat(" ", max(0, width-cells(s)))
	if right {
		return blank + s
	}
	return s + blank
}

// wrap breaks s into lines of no more than width cells, between words where that
// is possible.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && cells(line)+1+cells(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
		for cells(line) > width {
			head := cut(line, width)
			lines, line = append(lines, head), line[len(head):]
		}
	}
	return append(lines, line)
}
