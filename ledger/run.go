package ledger

import (
	"fmt"
	"runtime/debug"

	"github.com/cockroachdb/errors"
)

// run has the program decide accepted[from:], the new entries of a batch, whose first index is
// given. An error is the store's. RefusedError.Entry counts the new entries alone.
func (d *decision) run(time int64, from int, first uint64) (refused *RefusedError, err error) {
	l := d.l
	entries := d.accepted[from:]
	if len(entries) > 0 && entries[0].Kind == KindRecord {
		if isMapRoot(entries[0].Body) {
			return d.acceptMapRoot(entries, from, first), nil
		}
		err, stop := l.acceptRecord(entries, first, d.alone)
		if err != nil {
			reason := RefusedNotUnderstood
			if body := entries[0].Body; isPolicyChange(body) || isHandover(body) {
				reason = RefusedPolicy
			}
			return l.refuse(&RefusedError{Reason: reason, Err: err}), nil
		}
		return nil, stop
	}
	if l.isLog {
		for i, e := range entries {
			if e.Kind != KindPayload {
				_, err := maxOutcome(l.program, e.Kind, e.Body)
				return l.refuse(&RefusedError{Reason: RefusedNotUnderstood, Entry: i, Err: err}), nil
			}
		}
		return nil, nil
	}
	for i, e := range entries {
		refused, err := l.guard(func() *RefusedError { return d.decideEntry(e, from+i, time, first+uint64(i)) })
		if refused != nil {
			refused.Entry = i
		}
		if refused != nil || err != nil {
			return refused, err
		}
	}
	return nil, nil
}

// decideEntry has the program decide accepted[at].
func (d *decision) decideEntry(e *BlockEntry, at int, time int64, index uint64) *RefusedError {
	l := d.l
	s := &l.applier.state
	parsed, most, err := parse(l.program, e.Kind, e.Body)
	if err != nil {
		return &RefusedError{Reason: RefusedNotUnderstood, Err: err}
	}
	if most < 0 || len(e.Encoded)+most > MaxLeafSize {
		return &RefusedError{Reason: RefusedTooLarge,
			Err: errors.Newf("an entry of %d bytes with an outcome of up to %d; a leaf has at most %d", len(e.Encoded), most, MaxLeafSize)}
	}
	d.in = l.input(e, time, index)
	d.in.Parsed = parsed
	s.begin(index, e.Kind)
	before := len(s.details)
	outcome := l.program.Decide(s, &d.in)
	if len(outcome) > most {
		return &RefusedError{Reason: RefusedOutcome, Err: errors.Newf("an outcome of %d bytes, the program said at most %d", len(outcome), most)}
	}
	d.outcomeBytes += len(outcome)
	if d.outcomeBytes > MaxBlockOutcomes {
		return &RefusedError{Reason: RefusedTooLarge,
			Err: errors.Newf("the outcomes of the block have %d bytes, at most %d are allowed", d.outcomeBytes, MaxBlockOutcomes)}
	}
	if n := len(s.details) - before; n > DetailFactor*most {
		return &RefusedError{Reason: RefusedOutcome, Err: errors.Newf("a detail of %d bytes, with an outcome of up to %d it has at most %d", n, most, DetailFactor*most)}
	}
	if len(s.details) > MaxBlockDetails {
		return &RefusedError{Reason: RefusedTooLarge,
			Err: errors.Newf("the details of the block have %d bytes, at most %d are allowed", len(s.details), MaxBlockDetails)}
	}
	d.setOutcome(at, outcome)
	d.setDetail(at, len(s.details))
	return nil
}

// setOutcome gives accepted[at] its outcome.
func (d *decision) setOutcome(at int, outcome []byte) {
	if len(outcome) > 0 && d.outcomes == nil {
		d.outcomes = make([][]byte, cap(d.accepted))
	}
	if d.outcomes != nil {
		d.outcomes[at] = outcome
	}
}

// setDetail says where the detail of accepted[at] ends in the details of the block.
func (d *decision) setDetail(at, end int) {
	if end > 0 && d.detailEnds == nil {
		d.detailEnds = make([]uint32, cap(d.accepted))
	}
	if d.detailEnds != nil {
		d.detailEnds[at] = uint32(end)
	}
}

// input is what the program is told about an entry.
func (l *Ledger) input(e *BlockEntry, time int64, index uint64) Input {
	return Input{Genesis: l.applier.genesis, Restored: l.applier.restored, Level: l.Level(), Index: index, Kind: e.Kind, Time: time,
		Principal: e.Principal, Key: e.Key, Body: e.Body, Encoded: e.Encoded}
}

// guard runs a part of the program. What the program did wrong refuses its doing, which is counted;
// an error is the store's.
func (l *Ledger) guard(program func() *RefusedError) (refused *RefusedError, err error) {
	s := &l.applier.state
	defer func() {
		r := recover()
		s.end()
		switch {
		case s.err != nil:
			refused, err = nil, s.err
			return
		case s.violation != nil:
			refused = &RefusedError{Reason: RefusedWrites, Err: s.violation}
		case r != nil:
			stack := fmt.Sprintf("%v\n%s", r, debug.Stack())
			l.refused.stack.Store(&stack)
			refused = &RefusedError{Reason: RefusedPanic, Err: errors.Newf("the program panicked: %v", r)}
		}
		if refused != nil {
			l.refuse(refused)
		}
	}()
	return program(), nil
}

// refuse counts what is refused.
func (l *Ledger) refuse(r *RefusedError) *RefusedError {
	l.refused.counter(r.Reason).Add(1)
	return r
}
