package sim

import (
	"slices"
	"time"

	"github.com/cairnledger/cairn/jepsen/check"
)

// shrinkRuns bounds how often Shrink runs the cluster.
const shrinkRuns = 400

// Shrink looks for less that still fails in the same way: fewer faults first, then
// less time, fewer ledgers, operations, clients and nodes. It returns the options of the
// smallest failing run that it found, and its result. Two runs fail in the same
// way when their first violations are of the same kind.
func Shrink(o Options, failed *Result) (Options, *Result) {
	if failed == nil || !failed.Failed() || failed.Err != nil {
		return o, failed
	}
	s := &shrinker{kind: failed.Violations[0].Kind, left: shrinkRuns, best: failed.Options, res: failed}
	s.best.Check = o.Check
	for before := -1; before != s.found; {
		before = s.found
		s.faults()
		s.number(func(o *Options) *int { return &o.Ledgers }, 1)
		s.number(func(o *Options) *int { return &o.Ops }, 1)
		s.number(func(o *Options) *int { return &o.Clients }, 1)
		s.duration()
		s.nodes()
	}
	return s.best, s.res
}

type shrinker struct {
	kind  string
	left  int
	found int // smaller runs that still fail
	best  Options
	res   *Result
}

// try runs smaller options and keeps them if they fail in the same way.
func (s *shrinker) try(o Options) bool {
	if s.left == 0 {
		return false
	}
	s.left--
	res := Run(o)
	if !slices.ContainsFunc(res.Violations, func(v check.Violation) bool { return v.Kind == s.kind }) {
		return false
	}
	s.found++
	s.best, s.res = o, res
	return true
}

// faults leaves out as many as possible: halves, quarters, and so on to single ones.
func (s *shrinker) faults() {
	keep := s.best.Keep
	if keep == nil {
		for _, f := range drawFaults(s.best) {
			keep = append(keep, f.number)
		}
	}
	if len(keep) == 0 || s.best.Faults == NoFaults {
		return
	}
	none := s.best
	none.Faults, none.Keep = NoFaults, nil
	if s.try(none) {
		return
	}
	for size := (len(keep) + 1) / 2; size >= 1; size /= 2 {
		for at := 0; at < len(keep) && len(keep) > 1; {
			o := s.best
			o.Keep = slices.Concat(keep[:at], keep[min(at+size, len(keep)):])
			if len(o.Keep) > 0 && s.try(o) {
				keep = o.Keep
			} else {
				at += size
			}
		}
	}
}

// number halves a field, then takes smaller steps, down to least.
func (s *shrinker) number(field func(*Options) *int, least int) {
	for step := *field(&s.best) / 2; step >= 1; {
		o := s.best
		if n := field(&o); *n-step >= least {
			*n -= step
			if s.try(o) {
				continue
			}
		}
		step /= 2
	}
}

// duration ends the run earlier. The faults that are drawn stay those that they
// were, because they are drawn one after the other.
func (s *shrinker) duration() {
	for step := s.best.Duration / 2; step >= 500*time.Millisecond; {
		o := s.best
		o.Duration -= step
		if o.Duration > 0 && s.try(o) {
			continue
		}
		step /= 2
	}
}

// nodes tries smaller clusters.
func (s *shrinker) nodes() {
	for n := 1; n < s.best.Nodes; n++ {
		o := s.best
		o.Nodes = n
		if s.try(o) {
			return
		}
	}
}
