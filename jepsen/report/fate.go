package report

import (
	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
)

// Fate is what became of an append, judged by the final ledger.
type Fate uint8

// The fates, from the most ordinary to the worst.
const (
	// Kept: acknowledged, and in the ledger as acknowledged.
	Kept Fate = iota
	// Refused: failed definitely, and rightly so.
	Refused
	// UnknownPresent: the client never learned that it is in the ledger.
	UnknownPresent
	// UnknownAbsent: the client never learned that it is not.
	UnknownAbsent
	// RefusedPresent: failed definitely, yet in the ledger, and nobody else asked for it.
	RefusedPresent
	// Lost: acknowledged, but not in the ledger as acknowledged.
	Lost
	// NumFates is the number of fates.
	NumFates
	notAnAppend Fate = 255
)

var fateNames = [NumFates]string{
	Kept: "acknowledged", Refused: "definite failure", UnknownPresent: "unknown, in the ledger",
	UnknownAbsent: "unknown, not in the ledger", RefusedPresent: "refused, yet in the ledger", Lost: "acknowledged, lost",
}

func (f Fate) String() string {
	if f < NumFates {
		return fateNames[f]
	}
	return "no append"
}

// fates returns the fate of each operation. An acknowledgement names the indexes,
// so only the other appends, normally few, need their keys looked up.
func fates(ops []history.Op, final []check.FinalEntry) []Fate {
	// sought tells the entries of appends without acknowledgement: whether they
	// are in the ledger, and whether somebody who was not refused asked for them.
	type state struct{ present, asked bool }
	type entry struct{ key, body history.Digest }
	sought := map[entry]state{}
	for i := range ops {
		if op := &ops[i]; op.Kind == history.Append && op.Outcome != history.OK {
			for _, e := range op.Entries {
				id := entry{e.Key, e.Body}
				sought[id] = state{asked: sought[id].asked || op.Outcome == history.Info}
			}
		}
	}
	if len(sought) > 0 {
		for i := range final {
			id := entry{final[i].Key, final[i].Body}
			if s, ok := sought[id]; ok {
				s.present = true
				sought[id] = s
			}
		}
		for i := range ops {
			if op := &ops[i]; op.Kind == history.Append && op.Outcome == history.OK {
				for _, e := range op.Entries {
					id := entry{e.Key, e.Body}
					if s, ok := sought[id]; ok && !s.asked {
						s.asked = true
						sought[id] = s
					}
				}
			}
		}
	}

	out := make([]Fate, len(ops))
	for i := range ops {
		op := &ops[i]
		switch {
		case op.Kind != history.Append:
			out[i] = notAnAppend
		case op.Outcome == history.OK:
			out[i] = Kept
			for _, e := range op.Entries {
				if e.Index >= uint64(len(final)) || final[e.Index].Key != e.Key || final[e.Index].Body != e.Body {
					out[i] = Lost
				}
			}
		case op.Outcome == history.Fail:
			out[i] = Refused
			for _, e := range op.Entries {
				if s := sought[entry{e.Key, e.Body}]; s.present && !s.asked {
					out[i] = RefusedPresent
				}
			}
		default:
			out[i] = UnknownPresent
			for _, e := range op.Entries {
				if !sought[entry{e.Key, e.Body}].present {
					out[i] = UnknownAbsent
				}
			}
		}
	}
	return out
}
