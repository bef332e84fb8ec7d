package main

import (
	"strings"
)

// table aligns rows under a header. The last column is not padded.
//
// A table that is wider than the screen is written as several, one below the other: each begins
// with the first column, which names the rows, and no cell is shortened. A cell that does not fit
// beside the first column has a line of its own.
type table struct {
	header []string
	rows   [][]string
	right  map[int]bool // columns aligned to the right: numbers
}

func newTable(header ...string) *table { return &table{header: header, right: map[int]bool{}} }

func (t *table) alignRight(columns ...int) *table {
	for _, c := range columns {
		t.right[c] = true
	}
	return t
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

const gutter = "  "

func (t *table) write(p *page) {
	all := append([][]string{t.header}, t.rows...)
	widths := make([]int, len(t.header))
	for _, row := range all {
		for i := range row {
			row[i] = shown(row[i])
		}
		for i, cell := range row {
			widths[i] = max(widths[i], columns(cell))
		}
	}
	for n, part := range parts(widths, p.width) {
		if n > 0 {
			p.lines([]string{""})
		}
		for _, row := range all {
			p.lines(t.line(row, part, widths, p.width))
		}
	}
}

// parts says which columns stand side by side: the first one in every part, and of the others as
// many as fit.
func parts(widths []int, screen int) [][]int {
	first := []int{0}
	all, part, used := [][]int{}, first, widths[0]
	for i := 1; i < len(widths); i++ {
		more := len(gutter) + widths[i]
		if screen > 0 && used+more > screen && len(part) > 1 {
			all, part, used = append(all, part), first, widths[0]
		}
		part, used = append(part[:len(part):len(part)], i), used+more
	}
	return append(all, part)
}

func (t *table) line(row []string, part, widths []int, screen int) []string {
	var b strings.Builder
	for n, i := range part {
		if n > 0 {
			b.WriteString(gutter)
		}
		pad := strings.Repeat(" ", widths[i]-columns(row[i]))
		if t.right[i] {
			b.WriteString(pad + row[i])
		} else {
			b.WriteString(row[i] + pad)
		}
	}
	line := strings.TrimRight(b.String(), " ")
	if screen == 0 || columns(line) <= screen || len(part) < 2 {
		return []string{line}
	}
	return []string{row[part[0]], gutter + row[part[1]]} // only a part of two columns can be too wide
}
