package raftnode

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// still is a shell, transport and machine of a driver that only a test runs.
type still struct{}

func (still) Wake(Task)                                      {}
func (still) Now() time.Duration                             { return 0 }
func (still) Failed(error)                                   {}
func (still) Register(uint64, transport.Handler)             {}
func (still) Unregister(uint64)                              {}
func (still) Flush(bool)                                     {}
func (still) SendRaft(uint64, *raftpb.Message)               {}
func (still) SendBeat(uint64, uint64, transport.Beat)        {}
func (still) SendApp(uint64, uint64, []byte)                 {}
func (still) BuildBlock([]Request) (block []byte, err error) { return []byte("block"), nil }
func (still) Apply([]Committed) error                        { return nil }
func (still) Fail([]Request, error)                          {}
func (still) HandleApp(uint64, []byte)                       {}
func (still) Fill(Snapshot)                                  {}
func (still) StateChanged(State)                             {}

// TestLastMessageOfADeadLeader: a leader's last heartbeat and the news of its death reach one turn
// together. The member does not wait for the dead leader: it campaigns.
func TestLastMessageOfADeadLeader(t *testing.T) {
	t.Parallel()
	log, err := wal.Open(wal.Options{FS: vfs.NewMem(), Dir: "wal", Cluster: 1, Node: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := log.Bootstrap(1, wal.Mark{ConfState: &raftpb.ConfState{Voters: []uint64{1, 2, 3}}}); err != nil {
		t.Fatal(err)
	}
	d, err := NewDriver(Config{ID: 2, Group: 1, Log: log, Transport: still{}, Machine: still{}, Incarnation: 1}, still{})
	if err != nil {
		t.Fatal(err)
	}
	d.Turn()
	d.PeerDown(1, true)
	d.HandleRaft(1, 1, msg{typ: raftpb.MsgHeartbeat, from: 1, to: 2, term: 5}.proto())
	if !d.Turn() {
		t.Fatal("the driver has ended")
	}
	if s := d.Status(); s.Leader != 0 || s.Role != RolePreCandidate {
		t.Errorf("state %+v, want a pre-candidate that knows no leader", s.State)
	}
}

// TestBehind: while the machine is behind the log's mark nothing is applied, and nobody is told that an
// index is.
func TestBehind(t *testing.T) {
	t.Parallel()
	log, err := wal.Open(wal.Options{FS: vfs.NewMem(), Dir: "wal", Cluster: 1, Node: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := log.Bootstrap(1, wal.Mark{Index: 7, Term: 1, ConfState: &raftpb.ConfState{Voters: []uint64{1}}}); err != nil {
		t.Fatal(err)
	}
	d, err := NewDriver(Config{ID: 1, Group: 1, Log: log, Transport: still{}, Machine: still{}, Incarnation: 1, Behind: true}, still{})
	if err != nil {
		t.Fatal(err)
	}
	told := false
	d.WhenApplied(7, func() { told = true })
	d.pushApply(&ApplyWork{Entries: []Committed{{Index: 8, Term: 1}}})
	if run, more := d.NextApply(); len(run) != 0 || !more || told {
		t.Errorf("before the mark: %d entries to apply, more %t, index 7 is applied %t", len(run), more, told)
	}
	d.Reached()
	if run, _ := d.NextApply(); len(run) != 1 || !told {
		t.Errorf("at the mark: %d entries to apply, index 7 is applied %t", len(run), told)
	}
}
