package report

import (
	"fmt"
	"slices"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
)

// lesson says what an operation of a stale violation proves: A bounds the moment
// at which the entry appeared from below, B from above.
func lesson(v check.Violation, op *history.Op, lower bool) string {
	switch {
	case v.Kind != "stale":
		return "."
	case !lower && op.Kind == history.Append && op.Outcome == history.OK:
		return fmt.Sprintf(". So entry %d, and all before it, existed when it returned.", highest(op))
	case !lower:
		return fmt.Sprintf(". So the ledger had at least %d entries when it returned.", sizeSeen(op))
	case op.Kind == history.Append && op.Outcome == history.OK && allDuplicates(op):
		return fmt.Sprintf(". So the ledger had no more than %d entries at its call.", op.Size)
	case op.Kind == history.Append && op.Outcome != history.Fail:
		return ". So what it added did not exist before its call."
	}
	return fmt.Sprintf(". So the ledger had no more than %d entries at its call.", sizeSeen(op))
}

func allDuplicates(op *history.Op) bool {
	return !slices.ContainsFunc(op.Entries, func(e history.Entry) bool { return !e.Duplicate })
}

func highest(op *history.Op) uint64 {
	h := uint64(0)
	for _, e := range op.Entries {
		h = max(h, e.Index)
	}
	return h
}

// sizeSeen is the size that a read proves, or that bounds it.
func sizeSeen(op *history.Op) uint64 {
	switch op.Kind {
	case history.Get:
		if op.Reason == history.NotFound {
			return op.First
		}
		return op.First + 1
	case history.Range:
		if op.Reason == history.NotFound {
			return op.First - 1
		}
		return op.Seen
	case history.Watch:
		return op.First + uint64(len(op.Entries))
	case history.Append:
		switch {
		case op.Outcome != history.Fail:
			return highest(op) + 1
		case op.Reason == history.Conflict:
			return op.Seen + 1
		}
		return op.Seen
	}
	return op.Size
}

// describe says what was asked and answered.
func describe(op *history.Op) string {
	switch op.Kind {
	case history.Append:
		s := "append"
		if n := len(op.Entries); n > 1 {
			s = fmt.Sprintf("append of %d entries", n)
		}
		if op.Conditional {
			s += fmt.Sprintf(" at size %d", op.Size)
		}
		return s + " " + answered(op)
	case history.Get:
		return fmt.Sprintf("get %d %s", op.First, answered(op))
	case history.Range:
		s := fmt.Sprintf("range from %d", op.First)
		if op.Limit > 0 {
			s += fmt.Sprintf(", at most %d,", op.Limit)
		}
		return s + " " + answered(op)
	case history.Watch:
		return fmt.Sprintf("watch delivered %s", indexes(op.First, len(op.Entries)))
	case history.Head:
		return "head " + answered(op)
	case history.Checkpoint:
		return "checkpoint " + answered(op)
	case history.LocalHead:
		return fmt.Sprintf("local head of node %d %s", op.Node, answered(op))
	}
	return "unknown operation"
}

func answered(op *history.Op) string {
	if op.Outcome == history.Info {
		return "→ outcome unknown"
	}
	if op.Outcome == history.Fail {
		switch op.Reason {
		case history.Conflict:
			return fmt.Sprintf("→ conflict with entry %d", op.Seen)
		case history.SizeMismatch:
			return fmt.Sprintf("→ size is %d", op.Seen)
		}
		return "→ definite failure"
	}
	switch op.Kind {
	case history.Append:
		if len(op.Entries) == 0 {
			return "→ ok"
		}
		s := fmt.Sprintf("→ index %d", op.Entries[0].Index)
		if n := len(op.Entries); n > 1 {
			s += fmt.Sprintf(" … %d", op.Entries[n-1].Index)
		}
		if op.Entries[0].Duplicate {
			s += ", duplicate"
		}
		return s
	case history.Get:
		if op.Reason == history.NotFound {
			return "→ not found"
		}
		return "→ found"
	case history.Range:
		if op.Reason == history.NotFound {
			return "→ not found"
		}
		return fmt.Sprintf("→ %d entries at size %d", len(op.Entries), op.Seen)
	}
	return fmt.Sprintf("→ size %d", op.Size)
}

func indexes(first uint64, n int) string {
	if n == 1 {
		return fmt.Sprintf("entry %d", first)
	}
	return fmt.Sprintf("entries %d … %d", first, first+uint64(max(n, 1))-1)
}
