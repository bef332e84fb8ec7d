package raftnode

import (
	"testing"

	"github.com/cockroachdb/errors"
)

var errBroken = errors.New("input/output error")

// TestEndAnswersEverybody: whoever waits when a driver ends is answered. What was proposed has an
// unknown outcome; what was not is refused for certain.
func TestEndAnswersEverybody(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]struct {
		by    func(*stage)
		cause error // what a hand-over is told
	}{
		"close":          {func(s *stage) { s.Close() }, ErrStopped},
		"a failed write": {func(s *stage) { s.NextWrite(); s.Written(errBroken) }, errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, 3, func(c *Config) { c.MaxInflightBlocks, c.MaxBlockBytes = 1, 1 })
			s.lead()
			s.submit(11)
			s.Turn() // proposed
			s.submit(22)
			var told []error
			tell := func(err error) { told = append(told, err) }
			read := func(_ uint64, err error) { tell(err) }
			s.ReadIndex(read)
			s.Turn() // asked of the others
			s.TransferLeadership(3, tell)
			s.Turn() // asked of member 3
			s.ReadIndex(read)
			s.TransferLeadership(3, tell)
			end.by(s)
			if s.Turn() {
				t.Fatal("the driver goes on")
			}
			want := []error{ErrStopped, end.cause, ErrStopped, end.cause}
			if len(told) != len(want) {
				t.Fatalf("told %v, want four answers", told)
			}
			for i, err := range told {
				if !errors.Is(err, want[i]) {
					t.Errorf("answer %d is %v, want %v", i, err, want[i])
				}
			}
			outcomes := map[int]error{}
			for _, f := range s.failed {
				for _, r := range f.reqs {
					outcomes[r.Size()] = f.err
				}
			}
			if !errors.Is(outcomes[11], ErrIndefinite) {
				t.Errorf("the proposed request: %v, want ErrIndefinite", outcomes[11])
			}
			if err := outcomes[22]; !errors.Is(err, ErrStopped) || errors.Is(err, ErrIndefinite) {
				t.Errorf("the request that waited: %v, want ErrStopped alone", err)
			}
			if st := s.Status(); st.Role != RoleFollower || st.Serving || st.Progress != nil {
				t.Errorf("status %+v after the end, want that of a follower", st)
			}
			if st := s.states[len(s.states)-1]; st.Role != RoleFollower || st.Serving || st.Leader != 0 {
				t.Errorf("the machine was told %+v last, want that this member follows nobody", st)
			}
		})
	}
}

// TestNothingFollowsAFailure: after a write that failed, or entries that could not be applied,
// nothing is written and nothing is applied any more. Notes and requests are told, and the owner
// hears the first reason, once.
func TestNothingFollowsAFailure(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1, func(c *Config) { c.MaxBlockBytes = 1 })
	s.lead()
	s.submit(11, 22)
	s.Turn()
	s.write()
	s.Turn() // both blocks are committed and wait to be applied
	var told []error
	s.AppendNote(1, []byte("first"), func(err error) { told = append(told, err) })
	if w, _ := s.NextWrite(); w == nil || !w.Sync {
		t.Fatalf("write %+v for a note, want one with a sync", w)
	}
	s.AppendNote(1, []byte("second"), func(err error) { told = append(told, err) })
	s.Written(errBroken)
	if w, _ := s.NextWrite(); w != nil {
		t.Errorf("write %+v after a failed one", w)
	}
	if len(told) != 2 || !errors.Is(told[0], errBroken) || !errors.Is(told[1], errBroken) {
		t.Errorf("the notes are told %v, want the disk's error twice", told)
	}
	if run, _ := s.NextApply(); len(run) > 0 {
		t.Errorf("entries %v are to be applied after a failure", run)
	}
	if len(s.failed) != 2 || !errors.Is(s.failed[0].err, ErrIndefinite) || !errors.Is(s.failed[1].err, ErrIndefinite) {
		t.Errorf("failed %v, want both blocks with ErrIndefinite", s.failed)
	}
	s.fail(errors.New("another reason"), "do something else")
	if len(s.fatal) != 1 || !errors.Is(s.fatal[0], errBroken) || !errors.Is(s.Status().Err, errBroken) {
		t.Errorf("the owner hears %v, and the status says %v; want the disk's error, once", s.fatal, s.Status().Err)
	}
}

// TestMachineFailureEndsWithItsRun: the entries that the machine could not apply and those behind
// them have an unknown outcome.
func TestMachineFailureEndsWithItsRun(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1, func(c *Config) { c.MaxBlockBytes = 1 })
	s.lead()
	s.submit(11, 22)
	s.Turn()
	s.write()
	s.Turn()
	before := s.Status().Applied
	s.applyErr = errBroken
	s.run()
	if got := s.Status().Applied; got != before {
		t.Errorf("index %d counts as applied, want %d", got, before)
	}
	if len(s.failed) != 2 || len(s.fatal) != 1 || !errors.Is(s.fatal[0], errBroken) {
		t.Fatalf("failed %v, fatal %v; want two blocks and the machine's error", s.failed, s.fatal)
	}
	for _, f := range s.failed {
		if !errors.Is(f.err, ErrIndefinite) {
			t.Errorf("block with %v: %v, want ErrIndefinite", f.reqs, f.err)
		}
	}
}

// TestRunsAreBounded: a run holds what waits, in order, up to a number of entries and of bytes, and
// an entry that is larger than the bound alone. Entries that a run left wait for the next one.
func TestRunsAreBounded(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1, nil)
	s.lead()
	work := func(first uint64, sizes ...int) {
		w := &ApplyWork{}
		for i, size := range sizes {
			w.Entries = append(w.Entries, Committed{Index: first + uint64(i), Data: make([]byte, size)})
		}
		s.pushApply(w)
	}
	next := s.Status().Applied + 1
	work(next, 1, maxRunBytes-1, 1)
	work(next+3, 2*maxRunBytes)
	work(next+4, make([]int, maxRunEntries)...)
	work(next+4+maxRunEntries, 1)
	for i, want := range []int{2, 1, 1, maxRunEntries, 1} {
		run, _ := s.NextApply()
		if len(run) != want {
			t.Fatalf("run %d has %d entries, want %d", i, len(run), want)
		}
		for _, e := range run {
			if e.Index != next {
				t.Fatalf("run %d: entry %d, want %d", i, e.Index, next)
			}
			next++
		}
		s.Applied(nil)
		if got := s.Status().Applied; got != next-1 {
			t.Errorf("after run %d index %d is applied, want %d", i, got, next-1)
		}
	}
	if run, more := s.NextApply(); len(run) > 0 || !more {
		t.Errorf("%d entries are left, more: %t", len(run), more)
	}
	var left mail
	s.inbox.take(&left, &quiet{})
	if finished := len(left.applied); finished != 4 {
		t.Errorf("%d works are finished, want 4", finished)
	}
}
