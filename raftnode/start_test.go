package raftnode

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// registrar is a transport that knows for which groups it has a handler.
type registrar struct {
	still
	groups map[uint64]transport.Handler
}

func (r *registrar) Register(group uint64, h transport.Handler) { r.groups[group] = h }
func (r *registrar) Unregister(group uint64)                    { delete(r.groups, group) }

// TestEachStartHasAnIncarnation of its own, so that no answer to an earlier process confirms a read
// of this one. A member takes messages from Start to Stop.
func TestEachStartHasAnIncarnation(t *testing.T) {
	t.Parallel()
	log, err := wal.Open(wal.Options{FS: vfs.NewMem(), Dir: "wal", Cluster: 1, Node: 1, SegmentSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := log.Bootstrap(5, wal.Mark{Index: 1, Term: 1, ConfState: &raftpb.ConfState{Voters: []uint64{1, 2}}}); err != nil {
		t.Fatal(err)
	}
	tr := &registrar{groups: map[uint64]transport.Handler{}}
	h := NewHost(HostConfig{Log: log, Transport: tr})
	defer h.Close()
	seen := map[uint64]bool{0: true}
	for _, given := range []uint64{0, 0, 0, 99} {
		n, err := h.Start(Config{ID: 1, Group: 5, Machine: still{}, Incarnation: given})
		if err != nil {
			t.Fatal(err)
		}
		drawn := n.driver.core.cfg.Incarnation
		if seen[drawn] || given != 0 && drawn != given {
			t.Errorf("incarnation %d, which is 0 or was there before; given was %d", drawn, given)
		}
		seen[drawn] = true
		if tr.groups[5] == nil {
			t.Error("a member that was started takes no messages")
		}
		if err := n.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		if len(tr.groups) != 0 {
			t.Error("a member that was stopped takes messages")
		}
		if len(h.mu.members) != 0 {
			t.Error("a member that was stopped is told of ticks")
		}
	}
}

// storageOf is a log that begins behind the entry first-1 of term 1 and holds entries of these
// terms.
func storageOf(t *testing.T, first uint64, terms ...uint64) *raft.MemoryStorage {
	t.Helper()
	s := raft.NewMemoryStorage()
	before, one := first-1, uint64(1)
	must(t, s.ApplySnapshot(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: &before, Term: &one, ConfState: &raftpb.ConfState{Voters: []uint64{1, 2, 3}}}}))
	for i, term := range terms {
		must(t, s.Append([]*raftpb.Entry{entry(term, first+uint64(i), "x")}))
	}
	return s
}

// TestStartCorrectsWhatTheLogSays: the term is at least that of the last entry, and then nobody has
// been voted for in it. What was applied is committed.
func TestStartCorrectsWhatTheLogSays(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		term, vote, commit, applied    uint64
		wantTerm, wantVote, wantCommit uint64
	}{
		"all as it is":      {7, 3, 12, 10, 7, 3, 12},
		"of the last entry": {4, 2, 12, 10, 4, 2, 12},
		"a vote of before":  {3, 2, 12, 10, 4, 0, 12},
		"applied beyond":    {7, 3, 10, 12, 7, 3, 12},
		"behind the start":  {7, 3, 1, 9, 7, 3, 9},
	} {
		s := storageOf(t, 10, 1, 3, 4)
		must(t, s.SetHardState(&raftpb.HardState{Term: &x.term, Vote: &x.vote, Commit: &x.commit}))
		start, err := newStartStorage(s, x.applied)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		hs, _, err := start.InitialState()
		if err != nil || hs.GetTerm() != x.wantTerm || hs.GetVote() != x.wantVote || hs.GetCommit() != x.wantCommit {
			t.Errorf("%s: starts with %v, %v; want term %d, vote %d, commit %d", name, hs, err, x.wantTerm, x.wantVote, x.wantCommit)
		}
	}
}

// TestLogThatLostEntries is refused at the start by a sentence.
func TestLogThatLostEntries(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		commit, applied uint64
		want            string
	}{
		"at its end, committed": {13, 9, "log ends at index 12 but 13 was committed: the log has lost entries"},
		"at its end, applied":   {12, 13, "log ends at index 12 but 13 was committed: the log has lost entries"},
		"at its beginning":      {12, 8, "log starts at index 10 but the state machine needs 9"},
	} {
		s := storageOf(t, 10, 1, 3, 4)
		term := uint64(4)
		must(t, s.SetHardState(&raftpb.HardState{Term: &term, Commit: &x.commit}))
		_, err := NewCore(CoreConfig{ID: 1, Group: 1, Storage: s, Applied: x.applied})
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
}

// brokenStorage fails when it is asked for a term.
type brokenStorage struct {
	*raft.MemoryStorage
	err error
}

func (s brokenStorage) Term(uint64) (uint64, error) { return 0, s.err }

// TestExpectedAnswersOfALog, such as that an entry is no longer there, are no failed reads. The
// first failed one stays.
func TestExpectedAnswersOfALog(t *testing.T) {
	t.Parallel()
	s := &guardedStorage{Storage: storageOf(t, 10, 1, 3, 4)}
	if _, err := s.Entries(5, 11, 1<<20); !errors.Is(err, raft.ErrCompacted) || s.failed != nil {
		t.Errorf("entries that are gone: %v, remembered %v; want ErrCompacted and nothing", err, s.failed)
	}
	if _, err := s.Term(99); !errors.Is(err, raft.ErrUnavailable) || s.failed != nil {
		t.Errorf("an entry that is not there yet: %v, remembered %v; want ErrUnavailable and nothing", err, s.failed)
	}
	for _, err := range []error{errBroken, errors.New("another one")} {
		s.Storage = brokenStorage{err: err}
		if _, got := s.Term(10); !errors.Is(got, err) || !errors.Is(s.failed, errBroken) {
			t.Errorf("a failed read: %v, remembered %v; want %v and the first one", got, s.failed, err)
		}
	}
}

// TestLogger passes warnings and errors of the library on, drops the rest, and panics where the
// library wants to end the process.
func TestLogger(t *testing.T) {
	t.Parallel()
	var lines []string
	l := NewLogger(func(f string, args ...any) { lines = append(lines, fmt.Sprintf(f, args...)) })
	l.Debug("a")
	l.Debugf("%d", 1)
	l.Info("b")
	l.Infof("%d", 2)
	l.Warning("c")
	l.Warningf("%d", 3)
	l.Error("d")
	l.Errorf("%d", 4)
	if got, want := strings.Join(lines, "; "), "raft: warning: c; raft: warning: 3; raft: error: d; raft: error: 4"; got != want {
		t.Errorf("lines %q, want %q", got, want)
	}
	for name, f := range map[string]func(){
		"Fatal": func() { l.Fatal("x") }, "Fatalf": func() { l.Fatalf("x") }, "Panic": func() { l.Panic("x") }, "Panicf": func() { l.Panicf("x") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s does not panic", name)
				}
			}()
			f()
		}()
	}
}
