package draw

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// SVG writes the picture as an SVG document (https://www.w3.org/TR/SVG11/) that needs nothing else: no script, no font
// and no other file. It follows the reader's wish for light or dark colours, and tells each core's CPUs and workers where
// the pointer rests on it. Equal pictures give equal bytes. It fails without a topology, and when w does.
func (p Picture) SVG(w io.Writer) error {
	v, err := newView(p)
	if err != nil {
		return err
	}
	page := layOut(v)
	d := svgDrawing{view: v, w: bufio.NewWriter(w)}
	fmt.Fprintf(d.w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d"`+
		` role="img" aria-labelledby="plan-title plan-desc">`+"\n", page.w, page.h)
	fmt.Fprintf(d.w, "<title id=\"plan-title\">%s</title>\n", escape("Workers on a machine of "+v.title()))
	fmt.Fprintf(d.w, "<desc id=\"plan-desc\">%s</desc>\n", escape(v.describe()))
	d.style()
	d.block(page, 0, 0)
	fmt.Fprintln(d.w, "</svg>")
	return d.w.Flush()
}

// svgDrawing writes what has its place. A bufio.Writer keeps its first error until Flush.
type svgDrawing struct {
	*view
	w *bufio.Writer
}

// describe tells the picture in words: the legend, without its marks.
func (v *view) describe() string {
	var texts []string
	for _, e := range v.legend() {
		texts = append(texts, e.text)
	}
	return strings.Join(texts, "; ")
}

// escape makes a text fit for XML. Characters that cannot be seen are dropped: controls, and formats such as those that
// change the direction of what follows.
func escape(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return -1
		}
		return r
	}, text)
	var b strings.Builder
	// A strings.Builder never fails. What XML cannot hold becomes U+FFFD.
	_ = xml.EscapeText(&b, []byte(text))
	return b.String()
}

// lightStyle and darkStyle differ in what is around the workers' cells; those have a colour and a text of their own.
const (
	lightStyle = `.page{fill:#fff}text{fill:#1a1a1a}.outer{fill:#ececec}.inner{fill:#fff}` +
		`.outer,.inner,.l3,.core rect,.key rect{stroke:#6b6b6b}.none rect{fill:none}.none text{fill:#5c5c5c}` +
		`.shared rect{fill:#1a1a1a}.shared text{fill:#fff}`
	darkStyle = `.page{fill:#16181c}text{fill:#e8e8e8}.outer{fill:#24272d}.inner{fill:#16181c}` +
		`.outer,.inner,.l3,.core rect,.key rect{stroke:#9a9a9a}.none text{fill:#a8a8a8}` +
		`.shared rect{fill:#e8e8e8}.shared text{fill:#16181c}`
)

func (d svgDrawing) style() {
	fmt.Fprintf(d.w, "<style>\ntext{font:%dpx ui-monospace,Menlo,Consolas,\"DejaVu Sans Mono\",monospace;white-space:pre}"+
		".strong{font-weight:bold}.core text,.key text{text-anchor:middle}.l3{fill:none;stroke-dasharray:4 2}\n%s\n",
		fontSize, lightStyle)
	fmt.Fprintf(d.w, "@media(prefers-color-scheme:dark){%s}\n", darkStyle)
	for i, color := range palette[:min(len(palette), len(d.workers))] {
		text := "#fff"
		if darkText(color) {
			text = "#000"
		}
		r, g, b := rgb(color)
		fmt.Fprintf(d.w, ".w%d rect{fill:#%02x%02x%02x}.w%[1]d text{fill:%[5]s}\n", i, r, g, b, text)
	}
	fmt.Fprintln(d.w, "</style>")
}

func (d svgDrawing) block(b *block, x, y int) {
	x, y = x+b.x, y+b.y
	if b.class != "" {
		fmt.Fprintf(d.w, "<rect class=%q x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"%d\"/>\n", b.class, x, y, b.w, b.h, b.round)
	}
	for _, t := range b.texts {
		class := ""
		if t.strong {
			class = ` class="strong"`
		}
		fmt.Fprintf(d.w, "<text%s x=\"%d\" y=\"%d\">%s</text>\n", class, x+t.x, y+t.y+baseline, escape(t.text))
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
	if s.tip != "" {
		fmt.Fprintf(d.w, "<title>%s</title>", escape(s.tip))
	}
	fmt.Fprintf(d.w, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"2\"/><text x=\"%d\" y=\"%d\">%s</text></g>\n",
		x, y, s.w, cellHeight, x+s.w/2, y+(cellHeight-lineHeight)/2+baseline, escape(s.mark))
}
