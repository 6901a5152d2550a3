package draw

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// check checks what has to be true of every drawing.
func check(t *testing.T, p Picture, widths ...int) {
	t.Helper()
	for _, width := range widths {
		checkText(t, p, width)
	}
	checkSVG(t, p)
}

var sgr = regexp.MustCompile("\x1b\\[[0-9;]+m")

func checkText(t *testing.T, p Picture, width int) {
	t.Helper()
	got := asText(t, p, terminal.Style{Width: width})
	if width == 0 {
		width = 80
	}
	for l := range strings.Lines(got) {
		if n := terminal.Width(strings.TrimSuffix(l, "\n")); n > max(width, 40) {
			t.Errorf("at width %d a line has %d cells: %q", width, n, l)
		}
	}
	if !utf8.ValidString(got) {
		t.Errorf("not UTF-8: %q", got)
	}
	for _, r := range got {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%q is in the text", r)
		}
	}
	if colored := asText(t, p,
		terminal.Style{Width: width, Color: true}); sgr.ReplaceAllString(colored, "") != got {
		t.Error("the text in colour says something else")
	}
	// The name of a device could look like a row of cores.
	named := p
	named.Devices, named.Note = nil, ""
	named.Workers = slices.Clone(p.Workers)
	for i := range named.Workers {
		named.Workers[i].Label = ""
	}
	if diff := cmp.Diff(wantMarks(p),
		countMarks(asText(t, named, terminal.Style{Width: width}))); diff != "" {
		t.Errorf("marks at width %d (-want +got):\n%s", width, diff)
	}
}

var row = regexp.MustCompile(`^│ *(\d+): (.*) │$`)

// countMarks counts the cells of each mark in a text.
func countMarks(text string) map[string]int {
	counts := map[string]int{}
	for l := range strings.Lines(text) {
		m := row.FindStringSubmatch(strings.TrimSuffix(l, "\n"))
		if m == nil {
			continue
		}
		for _, mark := range strings.Fields(strings.NewReplacer("[", " ", "]", " ").Replace(m[2])) {
			counts[mark]++
		}
	}
	return counts
}

// wantMarks returns how often each mark should be in a picture, from the topology's cells. All
// workers must have different ranks below 62.
func wantMarks(p Picture) map[string]int {
	counts := map[string]int{}
	for _, core := range cellsIn(p.Topology) {
		counts[wantMark(p, core)]++
	}
	return counts
}

// cellsIn returns the sets of CPUs that are in the same core, packages and nodes.
func cellsIn(topo *affinity.Topology) map[string]affinity.CPUSet {
	cells := map[string]affinity.CPUSet{}
	for cpu := range topo.Online.All() {
		core := fmt.Sprint("CPU ", cpu)
		for i, c := range topo.Cores {
			if c.CPUs.Contains(cpu) {
				core = fmt.Sprint("core ", i)
			}
		}
		for i, p := range topo.Packages {
			core += fmt.Sprint(" package ", i, p.CPUs.Contains(cpu))
		}
		for i, n := range topo.Nodes {
			core += fmt.Sprint(" node ", i, n.CPUs.Contains(cpu))
		}
		cells[core] = cells[core].Union(affinity.CPUs(cpu))
	}
	return cells
}

func wantMark(p Picture, core affinity.CPUSet) string {
	allowed := core.Intersect(p.Topology.Allowed)
	var owners []int
	for _, w := range p.Workers {
		if !w.CPUs.Intersect(allowed).IsEmpty() {
			owners = append(owners, w.Rank)
		}
	}
	mark := ""
	switch {
	case allowed.IsEmpty():
		return "×"
	case len(owners) == 0:
		mark = "·"
	case len(owners) > 1:
		mark = "+"
	default:
		mark = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[owners[0] : owners[0]+1]
	}
	if allowed.Len() < core.Len() {
		mark += "'"
	}
	return mark
}

// checkSVG checks that every core is in the document once, with its CPUs and its mark.
func checkSVG(t *testing.T, p Picture) {
	t.Helper()
	doc := svg(t, p)
	if strings.Contains(doc, "href") || strings.Contains(doc, "url(") ||
		strings.Contains(doc, "<script") {
		t.Error("the SVG refers to something or runs it")
	}
	page, cores, err := readSVG(doc)
	if err != nil {
		t.Fatalf("%v in\n%s", err, doc)
	}
	got, want := map[string]string{}, map[string]string{}
	for i, core := range cores {
		got[core.cpus()] += core.Text
		if !core.Rect.inside(page) ||
			slices.ContainsFunc(cores[:i],
				func(o svgCore) bool { return core.Rect.overlaps(o.Rect) }) {
			t.Errorf("core %s is drawn over another one or outside: %+v", core.cpus(), core.Rect)
		}
	}
	for _, core := range cellsIn(p.Topology) {
		want[core.String()] = wantMark(p, core)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cores in the SVG (-want +got):\n%s", diff)
	}
	if page.W > 1200 {
		t.Errorf("the SVG is %d pixels wide", page.W)
	}
}

// svgCore is the element of a core.
type svgCore struct {
	Class string `xml:"class,attr"`
	Title string `xml:"title"`
	Text  string `xml:"text"`
	Rect  rect   `xml:"rect"`
}

type rect struct {
	X int `xml:"x,attr"`
	Y int `xml:"y,attr"`
	W int `xml:"width,attr"`
	H int `xml:"height,attr"`
}

func (r rect) overlaps(o rect) bool {
	return r.X < o.X+o.W && o.X < r.X+r.W && r.Y < o.Y+o.H && o.Y < r.Y+r.H
}

func (r rect) inside(o rect) bool {
	return r.W > 0 && r.H > 0 && r.X >= o.X && r.Y >= o.Y && r.X+r.W <= o.X+o.W &&
		r.Y+r.H <= o.Y+o.H
}

// cpus returns the list in a core's title.
func (c svgCore) cpus() string {
	_, rest, _ := strings.Cut(c.Title, " ")
	list, _, _ := strings.Cut(rest, separator)
	return list
}

// readSVG reads a document to its end and returns its size and its cores.
func readSVG(doc string) (page rect, cores []svgCore, err error) {
	d := xml.NewDecoder(strings.NewReader(doc))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return page, cores, nil
		}
		if err != nil {
			return page, nil, err
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		isCore := false
		for _, a := range start.Attr {
			isCore = isCore || a.Name.Local == "class" && strings.HasPrefix(a.Value, "core ")
			if start.Name.Local == "svg" && a.Name.Local == "viewBox" {
				_, err = fmt.Sscan(a.Value, &page.X, &page.Y, &page.W, &page.H)
			}
		}
		if isCore {
			var core svgCore
			err = d.DecodeElement(&core, &start)
			cores = append(cores, core)
		}
		if err != nil {
			return page, nil, err
		}
	}
}

func TestMain(m *testing.M) { os.Exit(affinitytest.Main(m)) }

func TestCaptures(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(affinitytest.Captures(t))) {
		t.Run(name, func(t *testing.T) {
			topo, err := affinity.ReadTopology(affinitytest.Root(t, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, workers := range []int{0, 1, 3, 8, 40} {
				p := occupy(topo, workers)
				check(t, p, 40, 80, 132)
			}
			bindings, _, err := topo.SpreadAll(
				affinity.Request{Policy: affinity.Policy{Mode: affinity.ModeExclusive}}, 5)
			if err != nil {
				t.Fatal(err)
			}
			p := Picture{Topology: topo}
			for i, b := range bindings {
				p.Workers = append(p.Workers, Worker{Rank: i, CPUs: b.CPUs})
			}
			check(t, p, 40, 80, 132)
		})
	}
}
