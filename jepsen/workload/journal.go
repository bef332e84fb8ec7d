package workload

import (
	"fmt"

	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/ledger"
)

// journal is what one client, one process at a time, has done.
type journal struct {
	w       *Workload
	process uint32
	ops     []history.Op
}

func newJournal(w *Workload) *journal { return &journal{w: w, process: w.newProcess()} }

// invoke notes that an operation begins.
func (j *journal) invoke(op *history.Op) int64 {
	op.Process, op.Call, op.Return = j.process, j.w.now(), history.Never
	id, err := j.w.rec.Invoke(op)
	if err != nil {
		j.w.fail(err)
	}
	return id
}

// complete notes how it ended. After an unknown outcome the client is another process.
func (j *journal) complete(id int64, op *history.Op) {
	op.Return = j.w.now()
	c := &j.w.counts
	switch op.Outcome {
	case history.OK:
		c.OK.Add(1)
		if op.Kind == history.Append {
			c.Entries.Add(int64(len(op.Entries)))
		}
	case history.Fail:
		c.Fail.Add(1)
	case history.Info:
		c.Info.Add(1)
		j.process = j.w.newProcess()
	}
	if err := j.w.rec.Complete(id, op); err != nil {
		j.w.fail(err)
	}
	if op.Outcome == history.Info {
		op.Return = history.Never
	}
	j.ops = append(j.ops, *op)
}

// note records an observation that took no time of its own.
func (j *journal) note(op history.Op) {
	id := j.invoke(&op)
	j.complete(id, &op)
}

// end hands the journal in.
func (j *journal) end() {
	j.w.mu.Lock()
	defer j.w.mu.Unlock()
	j.w.ops = append(j.w.ops, j.ops)
}

// KeyOf identifies an entry in a history: by principal and key, or without a key by its
// payload, which no two entries share.
func KeyOf(principal string, key, payload []byte) history.Digest {
	if len(key) == 0 {
		return history.DigestOf(append([]byte("payload:"), payload...))
	}
	return history.DigestOf([]byte(fmt.Sprintf("%s:%s", principal, key)))
}

// readEntries are leaves as the history has them. One that is no leaf is a violation.
func (w *Workload) readEntries(first uint64, leaves [][]byte) (out []history.Entry, ok bool) {
	out = make([]history.Entry, len(leaves))
	for i, leaf := range leaves {
		e, err := ledger.ParseLeaf(leaf)
		if err != nil {
			w.violate("wrong-answer", first+uint64(i), "a node answered with bytes that are no leaf: %v", err)
			return nil, false
		}
		out[i] = history.Entry{Key: KeyOf(e.Principal, e.Key, e.Body), Body: history.DigestOf(e.Body), Index: first + uint64(i)}
	}
	return out, true
}
