package terminal

import (
	"strings"

	"github.com/rodaine/table"
)

// gap is the number of cells between two columns.
const gap = 2

// Column is a column of a [Table].
type Column struct {
	Name string
	// Right aligns the column on the right, as numbers are.
	Right bool
}

// Table returns the lines of a table: one with the columns' names, then one for each row.
// Columns are as wide as their widest cell and two cells apart. All lines have the same
// width, so that text can be put beside them; callers that print nothing there trim the
// spaces at the end. Rows have a cell for each column, each of one line.
func Table(columns []Column, rows [][]string) []string {
	cells := make([][]string, 0, len(rows)+1)
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	cells = append(cells, names)
	for _, row := range rows {
		cells = append(cells, append([]string(nil), row...))
	}
	for i, c := range columns {
		if c.Right {
			alignRight(cells, i)
		}
	}
	header := make([]any, len(columns))
	for i, name := range cells[0] {
		header[i] = name
	}
	var b strings.Builder
	t := table.New(header...).WithWriter(&b).WithPadding(gap).WithWidthFunc(Width)
	t.SetRows(cells[1:]).Print()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSuffix(line, strings.Repeat(" ", gap))
	}
	return lines
}

// alignRight puts spaces before the cells of a column, which the library aligns on the left.
func alignRight(rows [][]string, column int) {
	width := 0
	for _, row := range rows {
		width = max(width, Width(row[column]))
	}
	for _, row := range rows {
		row[column] = strings.Repeat(" ", width-Width(row[column])) + row[column]
	}
}
