package draw

import (
	"bufio"
	"io"
	"strings"
)

// Text writes the picture as text of which no line is longer than the style says. Without colour the only control
// character in it is the newline. It fails without a topology, and when w does.
func (p Picture) Text(w io.Writer, s Style) error {
	v, err := newView(p)
	if err != nil {
		return err
	}
	t := textDrawing{view: v, width: s.width()}
	t.machine()
	t.legend()
	t.note()
	out := bufio.NewWriter(w)
	for _, l := range t.lines {
		writeLine(out, l, s.Color)
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
	if len(t.bare) > 0 {
		t.frame([]string{"NUMA nodes without CPUs"}, t.bareNodes)
	}
	if len(t.homeless) > 0 {
		t.frame([]string{"Devices without a known node"}, func() { t.deviceLines(t.homeless, 0) })
	}
}

// split returns the boxes in d that are drawn as rows of cells, which is d itself when it has no boxes, and the others.
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

func union(boxes []*box) places {
	var all places
	for _, b := range boxes {
		all = all.Union(b.cores)
	}
	return all
}

// body draws what is in a box. depth is the number of boxes around it.
func (t *textDrawing) body(b *box, depth int) {
	for _, i := range b.nodes {
		t.deviceLines(t.devices[t.topology.Nodes[i].ID], indentOf(depth))
	}
	cores, sections := b.split()
	t.rows(cores, indentOf(depth))
	for _, section := range sections {
		t.rule("├─"+strings.Repeat("──", min(depth, deepest)), t.heading(section), "┤", indentOf(depth+1))
		t.body(section, depth+1)
	}
}

// deepest bounds the indentation, so that no depth can use up a line.
const deepest = 4

func indentOf(depth int) int { return 2 * min(max(depth-1, 0), deepest) }

// frame draws a box around what draw adds.
func (t *textDrawing) frame(heading []string, draw func()) {
	t.rule("┌─", heading, "┐", 0)
	draw()
	t.add(line{{"└" + strings.Repeat("─", t.width-2) + "┘", lookFaint}})
}

// rule draws a horizontal line with as many of the facts in it as fit, and the other facts below.
func (t *textDrawing) rule(left string, facts []string, right string, indent int) {
	free := t.width - cells(left) - len("  ") - cells(right) - 1
	title, n := "", 0
	for ; n < len(facts); n++ {
		next := clean(facts[n])
		if n > 0 {
			next = title + separator + next
		}
		if cells(next) > free {
			break
		}
		title = next
	}
	l := line{{left, lookFaint}}
	if n > 0 {
		l = append(l, span{" " + title + " ", lookStrong})
	}
	fill := t.width - l.cells() - cells(right)
	t.add(append(l, span{strings.Repeat("─", fill) + right, lookFaint}))
	if n < len(facts) {
		t.paragraph(line{}, strings.Join(facts[n:], separator), indent)
	}
}

// inside adds a line between the borders of a frame.
func (t *textDrawing) inside(l line, indent int) {
	pad := t.inner(indent) - l.cells()
	framed := append(line{{"│ ", lookFaint}, {strings.Repeat(" ", indent), lookPlain}}, l...)
	t.add(append(framed, span{strings.Repeat(" ", pad), lookPlain}, span{" │", lookFaint}))
}

// inner returns the cells for text in a frame.
func (t *textDrawing) inner(indent int) int { return t.width - len("| ") - len(" |") - indent }

// paragraph adds a text inside a frame, wrapped, after what stands before it.
func (t *textDrawing) paragraph(before line, text string, indent int) {
	width := t.inner(indent)
	for i, part := range wrap(clean(text), width-before.cells(), width-hanging) {
		if i == 0 {
			t.inside(append(before, span{part, lookPlain}), indent)
			continue
		}
		t.inside(line{{strings.Repeat(" ", hanging) + part, lookPlain}}, indent)
	}
}

// hanging is the indentation of a wrapped line.
const hanging = 4

func (t *textDrawing) deviceLines(devices []Device, indent int) {
	for _, d := range devices {
		text := strings.Join(t.deviceFacts(d), separator)
		if len(d.Ranks) > 0 {
			text += " → " + rankList(d.Ranks)
		}
		t.paragraph(line{}, text, indent)
	}
}

func (t *textDrawing) bareNodes() {
	for _, node := range t.bare {
		t.paragraph(line{}, strings.Join(t.bareHeading(node), separator), 0)
		t.deviceLines(t.devices[node.ID], hanging)
	}
}

func (t *textDrawing) legend() {
	width := t.markWidth()
	for _, e := range t.view.legend() {
		before := line{{" ", lookPlain}, {pad(e.mark, width), e.look()}, {"  ", lookPlain}}
		indent := before.cells()
		for i, part := range wrap(clean(e.text), t.width-indent, t.width-indent) {
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
	for paragraph := range strings.SplitSeq(strings.TrimSpace(t.view.note), "\n") {
		for _, part := range wrap(clean(paragraph), t.width, t.width) {
			t.add(line{{part, lookPlain}})
		}
	}
}

func (v *view) markWidth() int {
	width := 1
	for _, m := range v.marks {
		width = max(width, cells(m))
	}
	return width
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-cells(text)))
}
