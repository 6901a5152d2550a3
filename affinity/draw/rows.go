package draw

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// rows draws boxes of cores side by side, as many in a row as fit. A box that does not fit into a
// row is drawn in several rows.
func (t *textDrawing) rows(boxes []*box, indent int) {
	r := rowDrawing{textDrawing: t, indent: indent, cellWidth: t.cellWidth(), gutter: t.gutter()}
	limit := r.boxesPerRow(boxes)
	inRow := 0
	for _, b := range boxes {
		width := r.boxWidth(b.cores.Len())
		if inRow == limit || inRow > 0 && r.row.width()+1+width > t.inner(indent) {
			r.flush()
			inRow = 0
		}
		if r.gutter+width > t.inner(indent) {
			r.longBox(b)
			inRow = 0
			continue
		}
		r.box(b, slices.Collect(b.cores.All()), true, true)
		inRow++
	}
	r.flush()
}

type rowDrawing struct {
	*textDrawing
	indent    int
	cellWidth int
	gutter    int
	row       line
}

// boxWidth returns the width of a box of n cells with its brackets, and a space between cells.
func (r *rowDrawing) boxWidth(n int) int { return n*(r.cellWidth+1) + 1 }

// boxesPerRow returns how many boxes to put into a row, so that rows of boxes of equal size are
// equally long.
func (r *rowDrawing) boxesPerRow(boxes []*box) int {
	if len(boxes) == 0 {
		return 0
	}
	size := boxes[0].cores.Len()
	for _, b := range boxes {
		if b.cores.Len() != size {
			return len(boxes)
		}
	}
	return evenly(len(boxes), (r.inner(r.indent)-r.gutter+1)/(r.boxWidth(size)+1))
}

// evenly returns how many of n things to put into each row, of which each has room for some: a
// divisor of n if that does not waste more than half of the room, else a number that makes the rows
// about equal.
func evenly(n, room int) int {
	room = max(room, 1)
	if n <= room {
		return n
	}
	for d := room; d > room/2; d-- {
		if n%d == 0 {
			return d
		}
	}
	rows := (n + room - 1) / room
	return (n + rows - 1) / rows
}

// longBox draws a box that is too long for one row.
func (r *rowDrawing) longBox(b *box) {
	members := slices.Collect(b.cores.All())
	room := (r.inner(r.indent) - r.gutter - 1) / (r.cellWidth + 1)
	size := evenly(len(members), room)
	for start := 0; start < len(members); start += size {
		end := min(start+size, len(members))
		r.box(b, members[start:end], start == 0, end == len(members))
		r.flush()
	}
}

// box adds cells of a box to the row, with the brackets of a cache if it begins or ends there.
func (r *rowDrawing) box(b *box, members []int, begins, ends bool) {
	if len(r.row) == 0 {
		r.row = line{{fmt.Sprintf("%*d: ", r.gutter-2, r.cells[members[0]].cpus.Min()), lookFaint}}
	} else {
		r.row = append(r.row, span{" ", lookPlain})
	}
	left, right := " ", " "
	if b.kind == kindL3 && begins {
		left = "["
	}
	if b.kind == kindL3 && ends {
		right = "]"
	}
	r.row = append(r.row, span{left, lookFaint})
	for i, m := range members {
		if i > 0 {
			r.row = append(r.row, span{" ", lookPlain})
		}
		r.row = append(r.row, r.cell(r.cells[m]))
	}
	r.row = append(r.row, span{right, lookFaint})
}

func (r *rowDrawing) cell(c cell) span {
	mark := r.mark(c)
	if c.split() {
		mark += markPart
	}
	return span{terminal.Pad(mark, r.cellWidth), cellLook(c)}
}

func (r *rowDrawing) flush() {
	if len(r.row) > 0 {
		r.inside(r.row, r.indent)
	}
	r.row = nil
}

// cellWidth returns the width of a core's cell: that of the marks and, if any core is split, one
// more.
func (v *view) cellWidth() int {
	width := v.markWidth()
	if slices.ContainsFunc(v.cells, cell.split) {
		width++
	}
	return width
}

// gutter returns the width of the number of a CPU, a colon and a space, which stand before a row.
func (v *view) gutter() int {
	return len(strconv.Itoa(v.cpusOf(v.root.cores).Max())) + 2
}
