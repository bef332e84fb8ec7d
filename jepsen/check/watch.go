package check

import (
	"fmt"

	"github.com/cairnledger/cairn/jepsen/history"
)

// Watches checks that what each watching process was told continues where it had
// ended, without a gap or a repetition, over broken streams and changes of node. What
// the entries are, and that they were not told too early, is for Linear to say.
func Watches(ops []history.Op) (deliveries int, found []Violation) {
	type state struct {
		next uint64
		last int
		any  bool
	}
	at := map[uint32]*state{}
	for i := range ops {
		o := &ops[i]
		if o.Kind != history.Watch || o.Outcome != history.OK {
			continue
		}
		deliveries++
		s := at[o.Process]
		if s == nil {
			s = &state{}
			at[o.Process] = s
		}
		if s.any && o.First != s.next && len(found) < maxViolations {
			what := "a gap"
			if o.First < s.next {
				what = "a repetition"
			}
			found = append(found, Violation{Kind: "watch", Index: o.First, A: s.last, B: i, Text: fmt.Sprintf(
				"process %d had been told everything before %d, then from %d on: %s", o.Process, s.next, o.First, what)})
		}
		s.any, s.last, s.next = true, i, o.First+uint64(len(o.Entries))
	}
	return deliveries, found
}
