package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// column is a column of the workers' table.
type column struct {
	terminal.Column
	cell func(Worker) string
}

// columns returns the columns of a table of workers. The times in it are relative to since.
func columns(workers []Worker, since time.Time) []column {
	number := func(name string, cell func(Worker) string) column {
		return column{terminal.Column{Name: name, Right: true}, cell}
	}
	text := func(name string, cell func(Worker) string) column {
		return column{terminal.Column{Name: name}, cell}
	}
	all := []column{
		number("RANK", func(w Worker) string { return fmt.Sprint(w.Rank) }),
		number("LOCAL", func(w Worker) string { return fmt.Sprint(w.LocalRank) }),
		text("DEVICE", deviceCell),
		number("PID", func(w Worker) string { return fmt.Sprint(w.PID) }),
		text("EXIT", exitCell),
		number("AFTER", func(w Worker) string { return offset(w.Ended.Sub(since)) }),
		text("HOW", func(w Worker) string { return terminal.Sanitize(string(w.How)) }),
	}
	if !slices.ContainsFunc(workers, func(w Worker) bool { return w.Device != nil }) {
		all = without(all, "DEVICE")
	}
	return all
}

func without(columns []column, name string) []column {
	return slices.DeleteFunc(columns, func(c column) bool { return c.Name == name })
}

func deviceCell(w Worker) string {
	if w.Device == nil {
		return "-"
	}
	return fmt.Sprintf("GPU %d", w.Device.Index)
}

func exitCell(w Worker) string {
	if w.Signal != "" {
		return terminal.Sanitize(w.Signal)
	}
	return fmt.Sprint(w.Code)
}

// offset returns a duration as "+0.012s" or "-1h2m3s".
func offset(d time.Duration) string {
	sign := "+"
	if d < 0 {
		sign, d = "-", -d
	}
	if d < 100*time.Second {
		return fmt.Sprintf("%s%.3fs", sign, d.Seconds())
	}
	return sign + d.Round(time.Second).String()
}

// layOut returns a line with the columns' names and a line for each worker.
func layOut(columns []column, workers []Worker) []string {
	names := make([]terminal.Column, len(columns))
	rows := make([][]string, len(workers))
	for i, c := range columns {
		names[i] = c.Column
		for j, w := range workers {
			rows[j] = append(rows[j], c.cell(w))
		}
	}
	return terminal.Table(names, rows)
}

// tableLines is like layOut, with the columns that fit into width cells. In a narrow terminal,
// the columns that only repeat what the rank stands for are left out first, and then the last
// column becomes narrower.
func tableLines(workers []Worker, since time.Time, width int) []string {
	all := columns(workers, since)
	lines := layOut(all, workers)
	for _, name := range []string{"LOCAL", "PID", "DEVICE"} {
		if terminal.Width(lines[0]) > width {
			all = without(all, name)
			lines = layOut(all, workers)
		}
	}
	if over := terminal.Width(lines[0]) - width; over > 0 {
		last := &all[len(all)-1]
		cell, widest := last.cell, len(last.Name)
		for _, w := range workers {
			widest = max(widest, terminal.Width(cell(w)))
		}
		last.cell = func(w Worker) string { return terminal.Truncate(cell(w), max(1, widest-over)) }
		lines = layOut(all, workers)
	}
	return lines
}

// table prints a row for each worker.
func (p *printer) table(workers []Worker, since time.Time) {
	const indent = "  "
	shown := workers[:min(len(workers), maxRows)]
	lines := tableLines(shown, since, p.width-len(indent))
	p.line(indent + lines[0])
	for i, w := range shown {
		var color terminal.Color
		if w.How == ByLauncher {
			color = terminal.Dim
		}
		line, note := indent+lines[i+1], p.note(w)
		if terminal.Width(line)+terminal.Width(note) <= p.width {
			line, note = line+note, ""
		}
		p.line(p.style.Paint(color, strings.TrimRight(line, " ")))
		if note != "" && w.Failed() {
			p.line(terminal.Truncate(note, p.width))
		}
	}
	p.more(len(workers) - maxRows)
}

// note returns the summary of a failure, to be printed behind a row or below it. If another
// worker has failed with the same summary, the note only refers to that worker: when all
// workers fail, they often fail alike. The last output of a worker that did not fail says
// nothing about a failure, so it is left out.
func (p *printer) note(w Worker) string {
	summary := w.summary()
	if summary == "" || !w.Failed() && w.Raised == nil {
		return ""
	}
	if rank, ok := p.printed[summary]; ok {
		return fmt.Sprintf("  the same as rank %d", rank)
	}
	p.printed[summary] = w.Rank
	return bar + summary
}
