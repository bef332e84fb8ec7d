// Package hunt runs seeds of the simulation until one shows a violation of an
// expected kind. It is the part of a detector that runs in the buggy program.
package hunt

import (
	"slices"
	"strings"
	"time"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/sim"
)

// Order says what to look for and for how long.
type Order struct {
	Options string // of sim, without a seed
	// Kinds of violations that count; "lost: watch" only counts when the text has "watch".
	Kinds []string
	First uint64 // seed to try before the others, 0: none
	Seeds int    // seeds 1 to Seeds are tried
	Time  time.Duration
}

// Catch is what was found.
type Catch struct {
	Caught  bool
	Kind    string // of the violation
	Text    string // its first line
	Seed    uint64
	Runs    int     // seeds that were run
	Seconds float64 // they took
	Command string  // repeats the run, on the buggy program
	// Also are other kinds of violations that showed on the way.
	Also []string
	// Err says why no run was possible.
	Err string
}

// Run looks for a violation.
func Run(o Order) Catch {
	opt, err := sim.ParseOptions(o.Options)
	if err != nil {
		return Catch{Err: err.Error()}
	}
	var c Catch
	start := time.Now()
	seeds := make([]uint64, 0, o.Seeds+1)
	if o.First != 0 {
		seeds = append(seeds, o.First)
	}
	for seed := uint64(1); seed <= uint64(o.Seeds); seed++ {
		seeds = append(seeds, seed)
	}
	for _, opt.Seed = range seeds {
		if c.Runs > 0 && time.Since(start) > o.Time {
			break
		}
		res := sim.Run(opt)
		c.Runs++
		c.Seconds = time.Since(start).Seconds()
		if res.Err != nil {
			c.Err = res.Err.Error()
			break
		}
		for _, v := range res.Violations {
			if slices.ContainsFunc(o.Kinds, func(want string) bool { return counts(want, v) }) {
				c.Caught, c.Kind, c.Seed, c.Command = true, v.Kind, opt.Seed, sim.Command(opt)
				c.Text, _, _ = strings.Cut(v.Text, "\n")
				return c
			}
			if !slices.Contains(c.Also, v.Kind) {
				c.Also = append(c.Also, v.Kind)
			}
		}
	}
	return c
}

func counts(want string, v check.Violation) bool {
	kind, text, _ := strings.Cut(want, ": ")
	return v.Kind == kind && strings.Contains(v.Text, text)
}
