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
	fit     int // width of the lines; 0 = whatever they take
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

// Fit makes lines at most width characters long, as far as that is possible, for a screen
// on which they would be folded; 0 is no bound. Where they are too long, the last column
// goes to lines of its own below its row, and of the others the longest texts are cut.
func (t *Table) Fit(width int) *Table {
	t.fit = width
	return t
}

// Write writes the table. A last column without any text is left out, unless there are no
// rows at all.
func (t *Table) Write(w io.Writer) error {
	widths, shown := t.widths()
	below := false // the last column
	if t.fit > 0 && total(widths[:shown]) > t.fit {
		if below = shown == len(t.columns) && shown > 1; below {
			shown--
		}
		t.shrink(widths[:shown])
	}
	b := bufio.NewWriter(w)
	for i, row := range append([][]string{t.columns}, t.rows...) {
		b.WriteString(t.line(row[:shown], widths))
		if last := row[len(row)-1]; below && last != "" && i > 0 {
			b.WriteString(Wrap(last, t.fit, noteIndent))
		}
	}
	return b.Flush()
}

const (
	gap        = 2      // between columns
	leastCell  = 8      // to which a text is cut at most
	noteIndent = "    " // of what stands below its row
)

// widths are those of the columns, and how many of these are shown.
func (t *Table) widths() (widths []int, shown int) {
	widths = make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c)
	}
	shown = len(t.columns)
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
	return widths, shown
}

// total is how long a line of columns is.
func total(widths []int) int {
	sum := gap * (len(widths) - 1)
	for _, w := range widths {
		sum += w
	}
	return sum
}

// shrink takes from the widest column of text until the line fits. Numbers stay whole.
func (t *Table) shrink(widths []int) {
	for over := total(widths) - t.fit; over > 0; over-- {
		widest := -1
		for i, w := range widths {
			if !t.right[i] && w > leastCell && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

func (t *Table) line(cells []string, widths []int) string {
	var line strings.Builder
	for i, cell := range cells {
		if i > 0 {
			line.WriteString(strings.Repeat(" ", gap))
		}
		line.WriteString(Pad(CutMiddle(cell, widths[i]), widths[i], t.right[i]))
	}
	return strings.TrimRight(line.String(), " ") + "\n"
}
