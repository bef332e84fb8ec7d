package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// demoSteps are the steps of a demonstration: numbered, each printed once it held.
type demoSteps struct {
	*app
	started time.Time
	number  int
}

func newDemoSteps(a *app) demoSteps { return demoSteps{app: a, started: time.Now()} }

// all takes the steps one after the other, up to the first that does not hold.
func (d *demoSteps) all(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
	}
	return nil
}

// verdict is the last line; it is printed only if every step held.
func (d *demoSteps) verdict() error {
	took := time.Since(d.started)
	return d.emit(struct {
		Step    string  `json:"step"`
		OK      bool    `json:"ok"`
		Seconds float64 `json:"seconds"`
	}{"verdict", true, took.Seconds()}, func(w *page) {
		fmt.Fprintf(w, "\n%s %s\n", good("Every claim held."), latencyString(took))
	})
}

// step prints the result of a step: an object, or a headline and lines below.
func (d *demoSteps) step(name string, v any, headline string, lines ...string) error {
	d.number++
	return d.emit(struct {
		Step   string `json:"step"`
		Result any    `json:"result"`
	}{name, v}, func(w *page) {
		w.prose(fmt.Sprintf("%-2d %-8s  ", d.number, name), headline)
		for _, l := range lines {
			for part := range strings.SplitSeq(l, "\n") {
				w.prose(strings.Repeat(" ", 13), part)
			}
		}
	})
}
