package draw

import (
	"bufio"
	"io"
	"strings"

	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

const (
	// defaultWidth is the width of a drawing if the style has none.
	defaultWidth = 80
	// minWidth is the width of the narrowest drawing. A narrower terminal breaks its lines.
	minWidth = 40
)

// Text writes the picture as text. Its lines fit into the style's width, which is 80 cells if it is
// 0 and 40 if it is less than that. With colours, it takes a terminal of 256 colours; without them,
// the only control character in the text is the newline. Text fails if the picture has no topology,
// or if w fails.
func (p Picture) Text(w io.Writer, style terminal.Style) error {
	v, err := newView(p)
	if err != nil {
		return err
	}
	t := textDrawing{view: v, width: max(style.Width, minWidth)}
	if style.Width == 0 {
		t.width = defaultWidth
	}
	t.machine()
	t.legend()
	t.note()
	out := bufio.NewWriter(w)
	for _, l := range t.lines {
		writeLine(out, l, style)
	}
	return out.Flush()
}

// textDrawing collects the lines of a drawing.
type textDrawing struct {
	*view
	width int
	lines []line
}

func (t *textDrawing) add(l line) { t.lines = append(t.lines, l) }

func (t *textDrawing) machine() {
	for _, text := range wrap(t.title(), t.width, t.width) {
		t.add(line{{text, lookStrong}})
	}
	cores, sections := t.root.split()
	if len(cores) > 0 {
		t.frame([]string{cpuList(t.cpusOf(union(cores)))}, func() { t.rows(cores, 0) })
	}
	for _, b := range sections {
		t.frame(t.heading(b), func() { t.body(b, 0) })
	}
	if len(t.memoryNodes) > 0 {
		t.frame([]string{"NUMA nodes without CPUs"}, t.memoryNodeLines)
	}
	if len(t.unplaced) > 0 {
		t.frame([]string{"Devices without a known node"}, func() { t.deviceLines(t.unplaced, 0) })
	}
}

// split returns the boxes in d that are drawn as rows of cells, and the others. If d has no boxes,
// it is itself drawn as rows of cells.
func (d *box) split() (cores, sections []*box) {
	if len(d.children) == 0 && !d.cores.IsEmpty() {
		return []*box{d}, nil
	}
	for _, child := range d.children {
		if child.plain() {
			cores = append(cores, child)
		} else {
			sections = append(sections, child)
		}
	}
	return cores, sections
}

func union(boxes []*box) coreSet {
	var all coreSet
	for _, b := range boxes {
		all = all.Union(b.cores)
	}
	return all
}

// body draws the contents of a box. depth is the number of boxes around it.
func (t *textDrawing) body(b *box, depth int) {
	for _, i := range b.nodes {
		t.deviceLines(t.devices[t.topology.Nodes[i].ID], indentOf(depth))
	}
	cores, sections := b.split()
	t.rows(cores, indentOf(depth))
	for _, section := range sections {
		left := "├─" + strings.Repeat("──", min(depth, maxDepth))
		t.rule(left, t.heading(section), "┤", indentOf(depth+1))
		t.body(section, depth+1)
	}
}

// maxDepth limits the indentation, so that deeply nested boxes leave room on their lines.
const maxDepth = 4

func indentOf(depth int) int { return 2 * min(max(depth-1, 0), maxDepth) }

// frame draws a box around the lines that draw adds.
func (t *textDrawing) frame(heading []string, draw func()) {
	t.rule("┌─", heading, "┐", 0)
	draw()
	t.add(line{{"└" + strings.Repeat("─", t.width-2) + "┘", lookFaint}})
}

// rule draws a horizontal line with as many of the facts in it as fit. The other facts go below it.
func (t *textDrawing) rule(left string, facts []string, right string, indent int) {
	room := t.width - terminal.Width(left) - len("  ") - terminal.Width(right) - 1
	title, n := "", 0
	for ; n < len(facts); n++ {
		longer := facts[n]
		if n > 0 {
			longer = title + separator + longer
		}
		if terminal.Width(longer) > room {
			break
		}
		title = longer
	}
	l := line{{left, lookFaint}}
	if n > 0 {
		l = append(l, span{" " + title + " ", lookStrong})
	}
	fill := t.width - l.width() - terminal.Width(right)
	t.add(append(l, span{strings.Repeat("─", fill) + right, lookFaint}))
	if n < len(facts) {
		t.paragraph(strings.Join(facts[n:], separator), indent)
	}
}

// inside adds a line between the borders of a frame.
func (t *textDrawing) inside(l line, indent int) {
	pad := t.inner(indent) - l.width()
	framed := append(line{{"│ ", lookFaint}, {strings.Repeat(" ", indent), lookPlain}}, l...)
	t.add(append(framed, span{strings.Repeat(" ", pad), lookPlain}, span{" │", lookFaint}))
}

// inner returns the number of cells for text in a frame.
func (t *textDrawing) inner(indent int) int { return t.width - len("| ") - len(" |") - indent }

// paragraph adds a text inside a frame, wrapped.
func (t *textDrawing) paragraph(text string, indent int) {
	width := t.inner(indent)
	for i, part := range wrap(text, width, width-hangingIndent) {
		if i > 0 {
			part = strings.Repeat(" ", hangingIndent) + part
		}
		t.inside(line{{part, lookPlain}}, indent)
	}
}

// hangingIndent is the indentation of a paragraph's lines after the first.
const hangingIndent = 4

func (t *textDrawing) deviceLines(devices []Device, indent int) {
	for _, d := range devices {
		text := strings.Join(t.deviceFacts(d), separator)
		if len(d.Ranks) > 0 {
			text += " → " + rankList(d.Ranks)
		}
		t.paragraph(text, indent)
	}
}

func (t *textDrawing) memoryNodeLines() {
	for _, node := range t.memoryNodes {
		t.paragraph(strings.Join(t.memoryNodeHeading(node), separator), 0)
		t.deviceLines(t.devices[node.ID], hangingIndent)
	}
}

func (t *textDrawing) legend() {
	width := t.markWidth()
	for _, e := range t.view.legend() {
		before := line{{" ", lookPlain}, {terminal.Pad(e.mark, width), e.look()}, {"  ", lookPlain}}
		indent := before.width()
		for i, part := range wrap(e.text, t.width-indent, t.width-indent) {
			if i > 0 {
				before = line{{strings.Repeat(" ", indent), lookPlain}}
			}
			t.add(append(before, span{part, lookPlain}))
		}
	}
	key := "The number before a row is its first CPU."
	if len(t.topology.L3s) > 0 {
		key = "[ ] share an L3 cache. " + key
	}
	for _, part := range wrap(key, t.width-1, t.width-1) {
		t.add(line{{" " + part, lookFaint}})
	}
}

func (t *textDrawing) note() {
	for _, paragraph := range t.view.note {
		for _, part := range wrap(paragraph, t.width, t.width) {
			t.add(line{{part, lookPlain}})
		}
	}
}

func (v *view) markWidth() int {
	width := 1
	for _, m := range v.marks {
		width = max(width, terminal.Width(m))
	}
	return width
}
