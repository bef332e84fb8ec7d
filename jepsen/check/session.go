package check

import (
	"fmt"

	"github.com/cairnledger/cairn/jepsen/history"
)

// Sessions checks the promise of local reads: a read that asks for at least size
// First is answered with at least that; so a process that always names the largest
// size it has seen, as the client library does, never goes back in time. It also
// returns how many reads were within such a session, so that nobody takes a history
// without any for a proof.
func Sessions(ops []history.Op) (within int, found []Violation) {
	seen := map[uint32]uint64{}
	for i := range ops {
		o := &ops[i]
		if o.Outcome != history.OK {
			continue
		}
		if o.Kind == history.LocalHead {
			if o.First > 0 && o.First >= seen[o.Process] {
				within++
			}
			if o.Size < o.First && len(found) < maxViolations {
				found = append(found, Violation{Kind: "session", Index: o.Size, A: i, B: noOp, Text: fmt.Sprintf(
					"process %d asked for at least size %d and was answered with %d", o.Process, o.First, o.Size)})
			}
		}
		seen[o.Process] = max(seen[o.Process], largest(o))
	}
	return within, found
}

// largest is the largest size that an operation has shown to its process.
func largest(o *history.Op) (size uint64) {
	switch o.Kind {
	case history.Head, history.LocalHead, history.Checkpoint:
		size = o.Size
	case history.Range:
		size = o.Seen
	case history.Append, history.Get:
		for _, e := range o.Entries {
			size = max(size, e.Index+1)
		}
	}
	return size
}
