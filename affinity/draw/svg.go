package draw

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// SVG writes the picture as an SVG document (https://www.w3.org/TR/SVG11/) that needs no script, no
// font and no other file. It has light or dark colours, as the reader prefers, and shows the CPUs
// and workers of a core when the pointer rests on it. Equal pictures give equal bytes. SVG fails if
// the picture has no topology, or if w fails.
func (p Picture) SVG(w io.Writer) error {
	v, err := newView(p)
	if err != nil {
		return err
	}
	page := layOut(v)
	d := svgDrawing{view: v, w: bufio.NewWriter(w)}
	fmt.Fprintf(d.w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d"`+
		` viewBox="0 0 %[1]d %[2]d" role="img" aria-labelledby="plan-title plan-desc">`+"\n",
		page.w, page.h)
	title := "Workers on a machine of " + v.title()
	fmt.Fprintf(d.w, "<title id=\"plan-title\">%s</title>\n", escape(title))
	fmt.Fprintf(d.w, "<desc id=\"plan-desc\">%s</desc>\n", escape(v.describe()))
	d.style()
	d.block(page, 0, 0)
	fmt.Fprintln(d.w, "</svg>")
	return d.w.Flush()
}

// svgDrawing writes a picture that has been laid out. A bufio.Writer keeps its first error until
// Flush.
type svgDrawing struct {
	*view
	w *bufio.Writer
}

// describe returns the legend without its marks, for readers who cannot see the picture.
func (v *view) describe() string {
	var texts []string
	for _, e := range v.legend() {
		texts = append(texts, e.text)
	}
	return strings.Join(texts, "; ")
}

// escape returns sanitized text as XML.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder never fails
	return b.String()
}

// lightStyle and darkStyle are for everything but the cells of workers, which have the same colours
// in both.
const (
	lightStyle = `.page{fill:#fff}text{fill:#1a1a1a}.outer{fill:#ececec}.inner{fill:#fff}` +
		`.outer,.inner,.l3,.core rect,.key rect{stroke:#6b6b6b}` +
		`.none rect{fill:none}.none text{fill:#5c5c5c}` +
		`.shared rect{fill:#1a1a1a}.shared text{fill:#fff}`
	darkStyle = `.page{fill:#16181c}text{fill:#e8e8e8}.outer{fill:#24272d}.inner{fill:#16181c}` +
		`.outer,.inner,.l3,.core rect,.key rect{stroke:#9a9a9a}.none text{fill:#a8a8a8}` +
		`.shared rect{fill:#e8e8e8}.shared text{fill:#16181c}`
)

func (d svgDrawing) style() {
	fmt.Fprintf(d.w, "<style>\n"+
		`text{font:%dpx ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre}`+
		".strong{font-weight:bold}.core text,.key text{text-anchor:middle}"+
		".l3{fill:none;stroke-dasharray:4 2}\n%s\n", fontSize, lightStyle)
	fmt.Fprintf(d.w, "@media(prefers-color-scheme:dark){%s}\n", darkStyle)
	for i, color := range palette[:min(len(palette), len(d.workers))] {
		text := "#fff"
		if darkText(color) {
			text = "#000"
		}
		r, g, b := rgb(color)
		fmt.Fprintf(d.w, ".w%d rect{fill:#%02x%02x%02x}.w%[1]d text{fill:%[5]s}\n",
			i, r, g, b, text)
	}
	fmt.Fprintln(d.w, "</style>")
}

func (d svgDrawing) block(b *block, x, y int) {
	x, y = x+b.x, y+b.y
	if b.class != "" {
		fmt.Fprintf(d.w, `<rect class=%q x="%d" y="%d" width="%d" height="%d" rx="%d"/>`+"\n",
			b.class, x, y, b.w, b.h, b.round)
	}
	for _, t := range b.texts {
		class := ""
		if t.strong {
			class = ` class="strong"`
		}
		fmt.Fprintf(d.w, `<text%s x="%d" y="%d">%s</text>`+"\n",
			class, x+t.x, y+t.y+baseline, escape(t.text))
	}
	for _, s := range b.swatches {
		d.swatch(s, x, y)
	}
	for _, child := range b.blocks {
		d.block(child, x, y)
	}
}

func (d svgDrawing) swatch(s swatch, x, y int) {
	x, y = x+s.x, y+s.y
	fmt.Fprintf(d.w, "<g class=%q>", s.class)
	if s.tooltip != "" {
		fmt.Fprintf(d.w, "<title>%s</title>", escape(s.tooltip))
	}
	fmt.Fprintf(d.w, `<rect x="%d" y="%d" width="%d" height="%d" rx="2"/>`, x, y, s.w, cellHeight)
	fmt.Fprintf(d.w, `<text x="%d" y="%d">%s</text></g>`+"\n",
		x+s.w/2, y+(cellHeight-lineHeight)/2+baseline, escape(s.mark))
}
