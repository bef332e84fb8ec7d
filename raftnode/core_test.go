package raftnode

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// TestCore runs the scripts of testdata/core: cores that are stepped in memory,
// every effect in the open. Regenerate the output with -rewrite and read the diff.
//
// Commands, with ids as arguments ("all" when none are given, where that makes sense):
//
//	group n=N [election=T] [resolve=T] [read-timeout=T] [inflight=B]   N new members
//	campaign ID | tick ID n=T | transfer ID to=ID | peer-down ID dead=ID | unreachable ID peer=ID
//	forget ID       as if an election timeout had passed since the leader was heard
//	propose ID tag=T data=D | read ID tag=T
//	ready ID...     take effects; what they ask for is queued
//	deliver ID...   step all queued messages to these members
//	drop [from=ID] [to=ID]
//	append ID... | apply ID...   finish the queued works
//	stabilize ID... [quiet]      all of the above until nothing happens
//	restart ID [applied=I] [commit=I]   a new core on the same log
//	state ID... | progress ID
func TestCore(t *testing.T) {
	datadriven.Walk(t, "testdata/core", func(t *testing.T, path string) {
		w := &world{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			w.out.Reset()
			if err := w.run(t, d); err != nil {
				fmt.Fprintf(&w.out, "error: %v\n", err)
			}
			if w.out.Len() == 0 {
				return "ok"
			}
			return w.out.String()
		})
	})
}

const testHeartbeatTicks = 3

// world is a group of cores with everything between them queued in the open.
type world struct {
	out     strings.Builder
	members []*member // by id-1
	cfg     CoreConfig
}

type member struct {
	id      uint64
	core    *Core
	storage *raft.MemoryStorage
	starts  uint64
	inbox   []*raftpb.Message
	appends []*AppendWork
	applies []*ApplyWork
	applied uint64
}

func (w *world) run(t *testing.T, d *datadriven.TestData) error {
	var num = func(key string, def int) int {
		if d.HasArg(key) {
			d.ScanArgs(t, key, &def)
		}
		return def
	}
	if d.Cmd == "group" {
		n := num("n", 3)
		w.cfg = CoreConfig{
			ElectionTicks: num("election", 10), HeartbeatTicks: testHeartbeatTicks,
			ResolveTicks: num("resolve", 5), ReadTimeoutTicks: num("read-timeout", 50), MaxInflightBlocks: num("inflight", 8),
		}
		w.members = nil
		var voters []uint64
		for id := 1; id <= n; id++ {
			voters = append(voters, uint64(id))
		}
		for _, id := range voters {
			s := raft.NewMemoryStorage()
			one := uint64(1)
			err := s.ApplySnapshot(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: &one, Term: &one, ConfState: &raftpb.ConfState{Voters: voters}}})
			if err != nil {
				return err
			}
			m := &member{id: id, storage: s, applied: 1}
			w.members = append(w.members, m)
			if err := w.start(m); err != nil {
				return err
			}
		}
		return nil
	}
	if d.Cmd == "drop" {
		from, to := uint64(num("from", 0)), uint64(num("to", 0))
		for _, m := range w.members {
			m.inbox = slices.DeleteFunc(m.inbox, func(msg *raftpb.Message) bool {
				return (to == 0 || m.id == to) && (from == 0 || msg.GetFrom() == from)
			})
		}
		return nil
	}
	ms, err := w.which(d)
	if err != nil {
		return err
	}
	for _, m := range ms {
		if len(ms) > 1 && d.Cmd != "stabilize" {
			fmt.Fprintf(&w.out, "> %d\n", m.id)
		}
		switch d.Cmd {
		case "campaign":
			m.core.Campaign()
		case "forget":
			if err := m.core.rn.ForgetLeader(); err != nil {
				return err
			}
		case "tick":
			for range num("n", 1) {
				m.core.Tick(true)
			}
		case "transfer":
			fmt.Fprintf(&w.out, "asked %d\n", m.core.TransferLeader(uint64(num("to", 0))))
		case "peer-down":
			m.core.PeerDown(uint64(num("dead", 0)))
		case "propose":
			data := ""
			d.ScanArgs(t, "data", &data)
			if err := m.core.Propose(uint64(num("tag", 0)), []byte(data)); err != nil {
				return err
			}
		case "read":
			m.core.ReadIndex(uint64(num("tag", 0)))
		case "ready":
			w.ready(m)
		case "deliver":
			w.deliver(m)
		case "append":
			w.append(m)
		case "apply":
			w.apply(m)
		case "stabilize":
			// Below, for all together.
		case "state":
			fmt.Fprintf(&w.out, "%d: %s\n", m.id, describeState(m.core.State()))
		case "unreachable":
			m.core.Unreachable(uint64(num("peer", 0)))
		case "progress":
			m.core.Progress(func(p Progress) { fmt.Fprintf(&w.out, "%d: match=%d %s\n", p.ID, p.Match, p.State) })
		case "restart":
			m.applied = uint64(num("applied", int(m.applied)))
			if d.HasArg("commit") {
				hs, _, _ := m.storage.InitialState()
				commit := uint64(num("commit", 0))
				_ = m.storage.SetHardState(&raftpb.HardState{Term: hs.Term, Vote: hs.Vote, Commit: &commit})
			}
			if err := w.start(m); err != nil {
				return err
			}
		default:
			return errors.Newf("unknown command %q", d.Cmd)
		}
	}
	if d.Cmd == "stabilize" {
		w.stabilize(ms, d.HasArg("quiet"))
	}
	return nil
}

func (w *world) which(d *datadriven.TestData) ([]*member, error) {
	var out []*member
	for _, a := range d.CmdArgs {
		if len(a.Vals) > 0 || a.Key == "quiet" {
			continue
		}
		id, err := strconv.Atoi(a.Key)
		if err != nil || id < 1 || id > len(w.members) {
			return nil, errors.Newf("no member %q", a.Key)
		}
		out = append(out, w.members[id-1])
	}
	if out == nil {
		out = w.members
	}
	return out, nil
}

func (w *world) start(m *member) error {
	m.starts++
	m.appends, m.applies = nil, nil // what is in the network stays there
	cfg := w.cfg
	cfg.ID, cfg.Group, cfg.Storage, cfg.Applied, cfg.Incarnation = m.id, 1, m.storage, m.applied, m.starts
	var err error
	m.core, err = NewCore(cfg)
	return err
}

// ready queues what the core asks for and prints it.
func (w *world) ready(m *member) bool {
	any := false
	for {
		e, ok := m.core.Ready()
		if !ok {
			return any
		}
		any = true
		if e.StateChanged {
			fmt.Fprintf(&w.out, "  state %s\n", describeState(e.State))
		}
		for _, msg := range e.Send {
			fmt.Fprintf(&w.out, "  send %s\n", describe(msg))
			w.send(msg)
		}
		if a := e.Append; a != nil {
			fmt.Fprintf(&w.out, "  append sync=%t", a.NeedsSync)
			for _, ent := range a.Entries {
				fmt.Fprintf(&w.out, " %s", raft.DescribeEntry(ent, nil))
			}
			if a.HardState != nil {
				fmt.Fprintf(&w.out, " [%s]", raft.DescribeHardState(a.HardState))
			}
			fmt.Fprintln(&w.out)
			m.appends = append(m.appends, a)
		}
		if e.Apply != nil {
			fmt.Fprintf(&w.out, "  apply")
			for _, c := range e.Apply.Entries {
				fmt.Fprintf(&w.out, " %d/%d %q", c.Term, c.Index, c.Data)
				if c.Tag != 0 {
					fmt.Fprintf(&w.out, " tag=%d", c.Tag)
				}
			}
			fmt.Fprintln(&w.out)
			m.applies = append(m.applies, e.Apply)
		}
		for _, r := range e.Reads {
			fmt.Fprintf(&w.out, "  read tag=%d index=%d", r.Tag, r.Index)
			if r.Err != nil {
				fmt.Fprintf(&w.out, " error: %v", r.Err)
			}
			fmt.Fprintln(&w.out)
		}
		for _, l := range e.Lost {
			fmt.Fprintf(&w.out, "  lost tag=%d definite=%t\n", l.Tag, l.Definite)
		}
	}
}

func (w *world) send(msg *raftpb.Message) {
	to := w.members[msg.GetTo()-1]
	to.inbox = append(to.inbox, msg)
}

func (w *world) deliver(m *member) bool {
	in := m.inbox
	m.inbox = nil
	for _, msg := range in {
		fmt.Fprintf(&w.out, "  recv %s\n", describe(msg))
		if err := m.core.Step(msg); err != nil {
			fmt.Fprintf(&w.out, "  ignored: %v\n", err)
		}
	}
	return len(in) > 0
}

func (w *world) append(m *member) bool {
	works := m.appends
	m.appends = nil
	for _, a := range works {
		if len(a.Entries) > 0 {
			if err := m.storage.Append(a.Entries); err != nil {
				panic(err)
			}
		}
		if a.HardState != nil {
			if err := m.storage.SetHardState(a.HardState); err != nil {
				panic(err)
			}
		}
		for _, msg := range a.Remote {
			fmt.Fprintf(&w.out, "  send %s\n", describe(msg))
			w.send(msg)
		}
		m.core.AppendDone(a)
	}
	return len(works) > 0
}

func (w *world) apply(m *member) bool {
	works := m.applies
	m.applies = nil
	for _, a := range works {
		m.applied = a.Entries[len(a.Entries)-1].Index
		m.core.ApplyDone(a)
	}
	return len(works) > 0
}

func (w *world) stabilize(ms []*member, quiet bool) {
	before := w.out.Len()
	for busy := true; busy; {
		busy = false
		for _, m := range ms {
			mark := w.out.Len()
			fmt.Fprintf(&w.out, "> %d\n", m.id)
			start := w.out.Len()
			any := w.ready(m)
			any = w.append(m) || any
			any = w.apply(m) || any
			any = w.deliver(m) || any
			busy = busy || any
			if w.out.Len() == start {
				w.cut(mark)
			}
		}
	}
	if quiet {
		w.cut(before)
	}
}

// cut shortens the output to n bytes.
func (w *world) cut(n int) {
	s := w.out.String()[:n]
	w.out.Reset()
	w.out.WriteString(s)
}

func describe(m *raftpb.Message) string {
	switch m.GetType() {
	case raftpb.MsgReadIndex, raftpb.MsgReadIndexResp:
		inc, num, _ := parseReadContext(m.GetEntries()[0].GetData())
		return fmt.Sprintf("%d->%d %s Index:%d request:%d.%d", m.GetFrom(), m.GetTo(), m.GetType(), m.GetIndex(), inc, num)
	}
	s := raft.DescribeMessage(m, nil)
	if len(m.GetContext()) == 8 {
		s += " reads"
	}
	return s
}

func describeState(s State) string {
	out := fmt.Sprintf("%s leader=%d term=%d commit=%d", s.Role, s.Leader, s.Term, s.Commit)
	if s.Serving {
		out += " serving"
	}
	return out
}
