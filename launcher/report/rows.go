package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// column is one of the table's.
type column struct {
	name  string
	right bool // its cells are aligned on the right
	cell  func(Worker) string
	width int // in cells
}

// gap is between two columns, in cells, and before the first.
const gap = 2

// columns are those that fit, and their widths.
func (p *printer) columns(workers []Worker, since time.Time) []column {
	all := []column{
		{name: "RANK", right: true, cell: func(w Worker) string { return fmt.Sprint(w.Rank) }},
		{name: "LOCAL", right: true, cell: func(w Worker) string { return fmt.Sprint(w.LocalRank) }},
		{name: "DEVICE", cell: deviceCell},
		{name: "PID", right: true, cell: func(w Worker) string { return fmt.Sprint(w.PID) }},
		{name: "EXIT", cell: exitCell},
		{name: "AFTER", right: true, cell: func(w Worker) string { return after(w.Ended.Sub(since)) }},
		{name: "HOW", cell: func(w Worker) string { return visible(string(w.How)) }},
	}
	total := 0
	for i := range all {
		c := &all[i]
		c.width = len(c.name)
		for _, w := range workers {
			c.width = max(c.width, cells(c.cell(w)))
		}
		total += gap + c.width
	}
	drop := func(name string) {
		all = slices.DeleteFunc(all, func(c column) bool {
			if c.name == name {
				total -= gap + c.width
			}
			return c.name == name
		})
	}
	if !slices.ContainsFunc(workers, func(w Worker) bool { return w.Device != nil }) {
		drop("DEVICE")
	}
	// In a narrow terminal, what the rank stands for goes first.
	for _, name := range []string{"LOCAL", "PID", "DEVICE"} {
		if total > p.width {
			drop(name)
		}
	}
	if total > p.width {
		how := &all[len(all)-1]
		how.width = max(1, how.width-(total-p.width))
	}
	return all
}

func deviceCell(w Worker) string {
	if w.Device == nil {
		return "-"
	}
	return fmt.Sprintf("GPU %d", w.Device.Index)
}

func exitCell(w Worker) string {
	if w.Signal != "" {
		return visible(w.Signal)
	}
	return fmt.Sprint(w.ExitCode)
}

// after is "+0.012s", or "-1h2m3s".
func after(d time.Duration) string {
	sign := "+"
	if d < 0 {
		sign, d = "-", -d
	}
	if d < 100*time.Second {
		return fmt.Sprintf("%s%.3fs", sign, d.Seconds())
	}
	return sign + d.Round(time.Second).String()
}

// table prints a row for each worker.
func (p *printer) table(workers []Worker, since time.Time) {
	shown := workers[:min(len(workers), maxRows)]
	columns := p.columns(shown, since)
	p.line(row(columns, func(c column) string { return c.name }))
	for _, w := range shown {
		color := ""
		if w.How == ByLauncher {
			color = dim
		}
		line := row(columns, func(c column) string { return shorten(c.cell(w), c.width) })
		note := p.note(w)
		if cells(line)+cells(note) <= p.width {
			line, note = line+note, ""
		}
		p.line(p.paint(color, strings.TrimRight(line, " ")))
		if note != "" && w.failed() {
			p.line(shorten(note, p.width))
		}
	}
	p.more(len(workers) - maxRows)
}

func row(columns []column, cell func(column) string) string {
	var b strings.Builder
	for _, c := range columns {
		b.WriteString(strings.Repeat(" ", gap) + pad(cell(c), c.width, c.right))
	}
	return b.String()
}

// note is the gist of a failure, to be printed behind a row or below it. What
// another worker has said before is not said again: when all fail, they often fail
// alike. What a worker that did not fail wrote last is of no interest.
func (p *printer) note(w Worker) string {
	gist := w.gist()
	if gist == "" || !w.failed() && w.Raised == nil {
		return ""
	}
	if rank, ok := p.said[gist]; ok {
		return fmt.Sprintf("  the same as rank %d", rank)
	}
	p.said[gist] = w.Rank
	return bar + gist
}
