package draw

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// Sizes in pixels. A character of a monospaced font is about 0.6 times as wide as its size.
// charWidth2 is the width of two characters, rounded up.
const (
	fontSize   = 12
	charWidth2 = 15
	lineHeight = 16
	baseline   = 12 // from the top of a line
	cellHeight = 20
	cellGap    = 3
	padding    = 8
	minWidthPx = 560  // of the page
	maxWidthPx = 1200 // of the page
	minBoxText = 300  // the least room for text in a box
	maxCells   = 16   // side by side
)

// block is a rectangle in the picture with its contents. Positions are relative to the block around
// it.
type block struct {
	class      string // empty: no border
	x, y, w, h int
	round      int
	texts      []svgText
	swatches   []swatch
	blocks     []*block
}

type svgText struct {
	x, y   int
	text   string
	strong bool
}

// swatch is a cell with a mark: a core, or a sample of it in the legend or at a device.
type swatch struct {
	x, y, w              int
	class, mark, tooltip string
}

// svgLayout arranges the blocks.
type svgLayout struct {
	*view
	cellWidth int
}

func layOut(v *view) *block {
	s := svgLayout{v, max(cellHeight, (v.cellWidth()*charWidth2)/2+6)}
	page := &block{class: "page"}
	inner := maxWidthPx - 2*padding
	page.stack(s.lines(v.title(), inner, true))
	cores, sections := v.root.split()
	var outer []*block
	if len(cores) > 0 {
		title := cpuList(v.cpusOf(union(cores)))
		outer = append(outer, s.frame("outer", inner, title, nil, nil, cores, nil))
	}
	boxWidth := inner
	if len(sections) > 1 {
		boxWidth = (inner - padding) / 2
	}
	for _, b := range sections {
		outer = append(outer, s.box(b, boxWidth, "outer"))
	}
	page.stack(flow(outer, inner))
	page.stack(flow(s.panels(boxWidth-2*padding), inner))
	width := max(page.w, minWidthPx)
	page.stack(s.legend(width))
	for _, paragraph := range v.note {
		page.stack(s.lines(paragraph, width, false))
	}
	page.finish()
	return page
}

// stack puts a block below the contents of b.
func (b *block) stack(child *block) {
	if child.w == 0 {
		return
	}
	if len(b.blocks) > 0 {
		b.h += padding / 2
	}
	child.x, child.y = padding, padding+b.h
	b.h += child.h
	b.w = max(b.w, child.w)
	b.blocks = append(b.blocks, child)
}

// finish adds the room between the border and the stacked blocks.
func (b *block) finish() {
	b.w += 2 * padding
	b.h += 2 * padding
}

// flow puts blocks side by side into rows that are at most width wide. Blocks in a row get the same
// height. If each row has one block, they get the same width.
func flow(blocks []*block, width int) *block {
	all := &block{blocks: blocks}
	x, y, column, rowHeight := 0, 0, true, 0
	row := 0
	for i, b := range blocks {
		if x > 0 && x+b.w > width {
			setHeights(blocks[row:i], rowHeight)
			x, y, rowHeight, row = 0, y+rowHeight+padding, 0, i
		}
		column = column && x == 0
		b.x, b.y = x, y
		rowHeight = max(rowHeight, b.h)
		all.w, all.h = max(all.w, x+b.w), max(all.h, y+b.h)
		x += b.w + padding
	}
	setHeights(blocks[row:], rowHeight)
	if column {
		for _, b := range blocks {
			b.w = all.w
		}
	}
	return all
}

func setHeights(row []*block, height int) {
	for _, b := range row {
		b.h = height
	}
}

// lines returns a block with a text that is wrapped to a width.
func (s *svgLayout) lines(text string, width int, strong bool) *block {
	b := &block{}
	chars := max(width*2/charWidth2, 1)
	for _, part := range wrap(text, chars, chars) {
		b.texts = append(b.texts, svgText{0, b.h, part, strong})
		b.w = max(b.w, terminal.Width(part)*charWidth2/2)
		b.h += lineHeight
	}
	return b
}

func (s *svgLayout) box(b *box, width int, class string) *block {
	var devices []Device
	for _, i := range b.nodes {
		devices = append(devices, s.devices[s.topology.Nodes[i].ID]...)
	}
	cores, sections := b.split()
	facts := s.heading(b)
	title := strings.Join(facts[:len(b.names)], separator)
	return s.frame(class, width, title, facts[len(b.names):], devices, cores, sections)
}

// frame returns a block with a border around a title, facts, devices, cores, and other boxes.
func (s *svgLayout) frame(
	class string, width int, title string, facts []string, devices []Device, cores, sections []*box,
) *block {
	inner := width - 2*padding
	var groups, boxes []*block
	for _, b := range cores {
		groups = append(groups, s.group(b, inner))
	}
	for _, b := range sections {
		boxes = append(boxes, s.box(b, inner, "inner"))
	}
	contents := []*block{flow(groups, inner), flow(boxes, inner)}
	text := min(inner, max(minBoxText, contents[0].w, contents[1].w))

	f := &block{class: class, round: 4}
	f.stack(s.lines(title, text, true))
	f.stack(s.lines(strings.Join(facts, separator), text, false))
	for _, d := range devices {
		f.stack(s.device(d, text))
	}
	for _, b := range contents {
		f.stack(b)
	}
	f.finish()
	return f
}

// group returns a block with the cores of a box, with a border if they share a cache.
func (s *svgLayout) group(b *box, width int) *block {
	g := &block{}
	margin := 0
	if b.kind == kindL3 {
		g.class, g.round, margin = "l3", 3, cellGap+1
	}
	step := s.cellWidth + cellGap
	columns := evenly(b.cores.Len(), min(maxCells, max(1, (width-2*margin+cellGap)/step)))
	for i, number := range slices.Collect(b.cores.All()) {
		core := s.core(s.cells[number])
		core.x, core.y = margin+i%columns*step, margin+i/columns*(cellHeight+cellGap)
		g.swatches = append(g.swatches, core)
	}
	rows := (b.cores.Len() + columns - 1) / columns
	g.w = columns*step - cellGap + 2*margin
	g.h = rows*(cellHeight+cellGap) - cellGap + 2*margin
	return g
}

func (s *svgLayout) core(c cell) swatch {
	worker := -1
	if len(c.owners) == 1 {
		worker = c.owners[0]
	}
	mark := s.mark(c)
	class := "core " + styleOf(mark, worker)
	core := swatch{w: s.cellWidth, class: class, mark: mark, tooltip: s.tooltip(c)}
	if c.split() {
		core.mark += markPart
	}
	return core
}

// tooltip returns the text that is shown while the pointer rests on a core.
func (v *view) tooltip(c cell) string {
	facts := []string{cpuList(c.cpus)}
	switch {
	case c.allowed.IsEmpty():
		facts = append(facts, "not allowed")
	case len(c.owners) == 0:
		facts = append(facts, "unused")
	case len(c.owners) == 1:
		facts = append(facts, v.workers[c.owners[0]].label())
	default:
		facts = append(facts, v.ranksOf(c.owners))
	}
	if c.split() {
		facts = append(facts, "allowed: "+cpuList(c.allowed))
	}
	return strings.Join(facts, separator)
}

// device returns a line with the facts about a device, after the marks of the workers that use it.
func (s *svgLayout) device(d Device, width int) *block {
	b := &block{}
	x := 0
	for i, w := range s.workers {
		if slices.Contains(d.Ranks, w.Rank) && x < width/3 {
			class := "key " + styleOf(s.marks[i], i)
			sample := swatch{x: x, w: s.cellWidth, class: class, mark: s.marks[i]}
			b.swatches = append(b.swatches, sample)
			x += s.cellWidth + cellGap
		}
	}
	text := strings.Join(s.deviceFacts(d), separator)
	if len(b.swatches) > 0 {
		text = "← " + text
	}
	if len(b.swatches) < len(d.Ranks) {
		text += " → " + rankList(d.Ranks)
	}
	b.beside(s.lines(text, width-x-padding, false), x)
	return b
}

// beside puts a text to the right of a swatch.
func (b *block) beside(text *block, x int) {
	if x > 0 {
		x += padding / 2
	}
	text.x, text.y = x, (cellHeight-lineHeight)/2
	b.w, b.h = text.x+text.w, max(cellHeight, text.y+text.h)
	b.blocks = append(b.blocks, text)
}

// panels returns a block with the nodes without CPUs and one with the devices of no known node.
func (s *svgLayout) panels(width int) []*block {
	var panels []*block
	panel := func(title string, lines []*block) {
		f := &block{class: "outer", round: 4}
		f.stack(s.lines(title, width, true))
		for _, b := range lines {
			f.stack(b)
		}
		f.finish()
		if len(lines) > 0 {
			panels = append(panels, f)
		}
	}
	var nodes, devices []*block
	for _, node := range s.memoryNodes {
		heading := strings.Join(s.memoryNodeHeading(node), separator)
		nodes = append(nodes, s.lines(heading, width, false))
		for _, d := range s.devices[node.ID] {
			nodes = append(nodes, s.device(d, width))
		}
	}
	for _, d := range s.unplaced {
		devices = append(devices, s.device(d, width))
	}
	panel("NUMA nodes without CPUs", nodes)
	panel("Devices without a known node", devices)
	return panels
}

// cacheKey stands in place of a worker in the legend's entry for a cache's border.
const cacheKey = -2

func (s *svgLayout) legend(width int) *block {
	all := &block{}
	entries := s.view.legend()
	if len(s.topology.L3s) > 0 {
		entries = append(entries, entry{"", cacheKey, "share an L3 cache"})
	}
	for _, e := range entries {
		b := &block{}
		switch {
		case e.worker == cacheKey:
			b.blocks = []*block{{class: "l3", w: s.cellWidth, h: cellHeight, round: 3}}
		case e.mark != "":
			class := "key " + styleOf(e.mark, e.worker)
			b.swatches = []swatch{{w: s.cellWidth, class: class, mark: e.mark}}
		}
		b.beside(s.lines(e.text, width-s.cellWidth-padding, false), s.cellWidth)
		b.y = all.h
		all.w, all.h = max(all.w, b.w), all.h+b.h+cellGap
		all.blocks = append(all.blocks, b)
	}
	return all
}

// styleOf returns the class of the style of a mark.
func styleOf(mark string, worker int) string {
	switch {
	case worker >= 0:
		return fmt.Sprintf("w%d", worker%len(palette))
	case mark == markShared:
		return "shared"
	}
	return "none"
}
