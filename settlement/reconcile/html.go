package reconcile

import (
	_ "embed"
	"html/template"
	"io"
	"strings"

	"github.com/cockroachdb/errors"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"words":   func(c Class) string { return upperFirst(c.Words()) },
	"rule":    func(r Rule) string { return strings.ReplaceAll(string(r), "_", " ") },
	"amount":  orUnknown,
	"classes": Classes,
	"period":  (*Report).period,
	"totals":  func(s Section) [][]string { return s.totalRows() },
	"bridge": func(s Section) [][]string {
		if s.Bridge == nil || len(s.Bridge.Steps) == 0 {
			return nil
		}
		return s.bridgeRows()
	},
	"of":     func(s Section, c Class) []Line { return s.of(c) },
	"pairs":  pairs,
	"remark": func(l Line) string { return l.remarks() },
	"zero":   func(s string) bool { return strings.Trim(s, "-0.") == "" },
}).Parse(page))

// WriteHTML writes the report as one page that needs no other file and no network, and that can be
// printed.
func (r *Report) WriteHTML(w io.Writer) error {
	return errors.Wrap(pageTemplate.Execute(w, r), "write the report as HTML")
}

// pair is a row of the table of lines: what stands beside each other, nil where there is nothing.
type pair struct{ Here, There *Item }

// pairs returns the rows of a line.
func pairs(l Line) []pair {
	rows := make([]pair, max(len(l.Here), len(l.There)))
	for i := range l.Here {
		rows[i].Here = &l.Here[i]
	}
	for i := range l.There {
		rows[i].There = &l.There[i]
	}
	return rows
}
