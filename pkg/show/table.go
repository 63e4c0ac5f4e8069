package show

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"
)

// Table is lines of cells under their columns' names.
type Table struct {
	columns []string
	right   []bool
	rows    [][]string
}

// NewTable makes a table of these columns. Numbers stand at the right edge of one whose
// name begins with ">", which is not shown.
func NewTable(columns ...string) *Table {
	t := &Table{columns: make([]string, len(columns)), right: make([]bool, len(columns))}
	for i, c := range columns {
		t.columns[i], t.right[i] = strings.CutPrefix(c, ">")
	}
	return t
}

// Row adds a line; cells are cleaned. An empty one shows as "-", but not in the last
// column, where nothing stands below it.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(t.columns))
	for i := range row {
		if i < len(cells) {
			row[i] = Clean(cells[i])
		}
		if row[i] == "" && i < len(row)-1 {
			row[i] = "-"
		}
	}
	t.rows = append(t.rows, row)
}

// Write writes the table. A last column without any text is left out, unless there are no
// rows at all.
func (t *Table) Write(w io.Writer) error {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c)
	}
	shown := len(t.columns)
	if len(t.rows) > 0 {
		shown--
	}
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
		if row[len(row)-1] != "" {
			shown = len(t.columns)
		}
	}
	b := bufio.NewWriter(w)
	for _, row := range append([][]string{t.columns}, t.rows...) {
		var line strings.Builder
		for i, cell := range row[:shown] {
			if i > 0 {
				line.WriteString("  ")
			}
			line.WriteString(Pad(cell, widths[i], t.right[i]))
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	return b.Flush()
}
