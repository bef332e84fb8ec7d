package history

import (
	"cmp"
	"slices"
)

// event is one end of an operation.
type event struct {
	at     int64
	op     int
	invoke bool
}

// timeline returns both ends of all operations in the order of time; at one
// instant invocations come first, as closed intervals want it. An operation of
// unknown outcome ends after everything else.
func timeline(ops []Op) []event {
	last := int64(0)
	for i := range ops {
		last = max(last, ops[i].Call)
		if ops[i].Return != Never {
			last = max(last, ops[i].Return)
		}
	}
	events := make([]event, 0, 2*len(ops))
	for i := range ops {
		ret := ops[i].Return
		if ret == Never {
			ret = last + 1
		}
		events = append(events, event{ops[i].Call, i, true}, event{ret, i, false})
	}
	slices.SortStableFunc(events, func(a, b event) int {
		if c := cmp.Compare(a.at, b.at); c != 0 {
			return c
		}
		switch {
		case a.invoke == b.invoke:
			return 0
		case a.invoke:
			return -1
		}
		return 1
	})
	return events
}
