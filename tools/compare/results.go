package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// write writes the three files of a report.
func write(dir string, r report) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"compare.json": append(raw, '\n'), "compare.md": table(r)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return chart(filepath.Join(dir, "compare.svg"), r)
}

// of returns one figure of every run of a row with a system, ascending.
func (r report) of(system, row string, figure func(figures) float64) (values []float64) {
	for _, f := range r.Runs {
		if f.System == system && f.Row == row {
			values = append(values, figure(f))
		}
	}
	slices.Sort(values)
	return values
}

func median(ascending []float64) float64 {
	n := len(ascending)
	if n == 0 {
		return 0
	}
	return (ascending[(n-1)/2] + ascending[n/2]) / 2
}

func rate(f figures) float64 { return f.Rate }

func table(r report) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Cairn beside etcd\n\nMade by `make bench-compare` on %s: etcd %s, Cairn at %s, %s, %d processors, three nodes and the clients on one machine and one disk,\n"+
		"values of %d bytes, %d rounds of %s in turns. Medians; the range of the rates in brackets. The ratio is Cairn's rate by etcd's.\n\n",
		r.Date, r.Etcd, r.Cairn, r.System, r.CPUs, r.Size, r.Rounds, r.Duration)
	b.WriteString("| | system | requests or entries a second | p50 ms | p99 ms | p99.9 ms | max ms | processor seconds a million | ratio |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, w := range rows {
		for _, system := range []string{"etcd", "cairn"} {
			rates := r.of(system, w.Name, rate)
			if len(rates) == 0 {
				continue
			}
			at := func(figure func(figures) float64) string {
				return fmt.Sprintf("%.2f", median(r.of(system, w.Name, figure)))
			}
			ratio := ""
			if other := median(r.of("etcd", w.Name, rate)); system == "cairn" && other > 0 {
				ratio = fmt.Sprintf("%.2f", median(rates)/other)
			}
			fmt.Fprintf(&b, "| %s | %s | %.0f (%.0f – %.0f) | %s | %s | %s | %s | %.1f | %s |\n", w.Name, system, median(rates), rates[0], rates[len(rates)-1],
				at(func(f figures) float64 { return f.P50 }), at(func(f figures) float64 { return f.P99 }), at(func(f figures) float64 { return f.P999 }),
				at(func(f figures) float64 { return f.Max }), median(r.of(system, w.Name, func(f figures) float64 { return f.CPU })), ratio)
		}
	}
	return b.Bytes()
}

// lines breaks the name of a row into lines.
var lines = strings.NewReplacer(", ", ",\n", ": ", ":\n", " with ", "\nwith ")

// chart draws the rates of both systems for the rows that both have.
func chart(file string, r report) error {
	var names []string
	values := map[string]plotter.Values{}
	for _, w := range rows {
		etcd, cairn := r.of("etcd", w.Name, rate), r.of("cairn", w.Name, rate)
		if len(etcd) == 0 || len(cairn) == 0 {
			continue
		}
		names = append(names, lines.Replace(w.Name))
		values["etcd"] = append(values["etcd"], median(etcd))
		values["cairn"] = append(values["cairn"], median(cairn))
	}
	if len(names) == 0 {
		return nil
	}
	p := plot.New()
	p.Title.Text = "Requests a second, three nodes and the clients on one machine"
	p.Y.Min = 0
	for i, system := range []string{"etcd", "cairn"} {
		bars, err := plotter.NewBarChart(values[system], vg.Points(18))
		if err != nil {
			return err
		}
		bars.Offset = vg.Points(float64(18*i - 9))
		bars.Color = []color.Color{color.RGBA{0xb0, 0xb8, 0xc0, 0xff}, color.RGBA{0x2a, 0x6f, 0x97, 0xff}}[i]
		p.Add(bars)
		p.Legend.Add(system, bars)
	}
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Points(4)
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.7, float64(len(names))-0.3
	return p.Save(vg.Points(float64(120*(len(names)+1))), 12*vg.Centimeter, file)
}
