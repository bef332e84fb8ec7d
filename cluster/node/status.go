package node

import (
	"io/fs"
	"path/filepath"
	runtimemetrics "runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/raftnode"
)

// Version is the program's version; the command sets it.
var Version = "development"

// Brief describes the ledger on the node; see server.Backend. It never waits.
func (h *hosted) Brief() server.Status {
	st := h.raft.Status()
	return h.brief(&st)
}

func (h *hosted) brief(st *raftnode.Status) server.Status {
	leader := h.node.member(st.Leader)
	return server.Status{
		Role: h.roleName(st.Role), LeaderName: leader.Name, LeaderAddr: leader.API, Term: st.Term, Commit: st.Commit, Applied: st.Applied,
		QueuedRequests: uint64(st.QueuedRequests), QueuedBytes: uint64(st.QueuedBytes),
	}
}

// Status describes the node; see server.Backend. It never waits.
func (h *hosted) Status() server.Status {
	n := h.node
	st := h.raft.Status()
	self := n.cfg.Self()
	s := h.brief(&st)
	s.Node, s.ID, s.Version, s.Started = self.Name, self.ID, Version, n.started
	s.WALBytes, s.StoreBytes, s.MemoryBytes = uint64(n.wal.Stats().Bytes), uint64(n.storeBytes.Load()), memoryBytes()
	s.Problems = n.problems()
	for i := range h.repaired {
		s.Repairs += h.repaired[i].Load()
	}
	if done := h.scrubbing.done.Load(); done > 0 {
		s.Scrubbed = time.UnixMicro(done)
	}
	if size := h.scrubbing.size.Load(); size > 0 {
		s.ScrubShare = min(1, float64(h.scrubbing.at.Load())/float64(size))
	}
	if free, err := n.dir.freeBytes(); err == nil {
		s.DiskFreeBytes = uint64(free)
	}
	connected := map[uint64]bool{self.ID: true}
	for _, c := range n.transport.Stats() {
		if !c.Inbound && c.Class == "control" && c.Connected {
			connected[c.Peer] = true
		}
	}
	now := n.cfg.wallClock()()
	for _, e := range *n.expiries.Load() {
		s.Certificates = append(s.Certificates, server.CertificateStatus{Kind: e.kind, Serial: e.serial, Expires: e.end, Soon: e.soon(now)})
	}
	s.Cosigners = n.hosting.cosignerKeys()
	match := map[uint64]uint64{}
	for _, p := range st.Progress {
		match[p.ID] = p.Match
	}
	kinds := map[uint64]string{}
	for _, m := range h.policyMembers() {
		kinds[m.ID] = "voter"
		if m.Learner {
			kinds[m.ID] = "learner"
		}
	}
	for _, m := range n.nodes().present() {
		kind := kinds[m.ID]
		switch {
		case kind == "" && len(kinds) == 0:
			kind = "voter" // nothing is applied yet
		case kind == "":
			kind = "none"
		}
		s.Peers = append(s.Peers, server.PeerStatus{
			ID: m.ID, Name: m.Name, Address: m.API, Kind: kind, Connected: connected[m.ID], Match: match[m.ID], Problem: n.members.problem(m.ID),
		})
	}
	return s
}

// problems says what keeps the node from its work.
func (n *node) problems() (all []string) {
	for _, h := range n.hosting.all() {
		if halted := h.halted.Load(); halted != nil {
			all = append(all, "the replica of "+h.origin+" has stopped: "+halted.Why)
		}
		if h.raft.Stalled() {
			all = append(all, "a write for "+h.origin+" takes longer than raft.stall")
		}
		if err := h.Replica.Ledger().DurabilityProblem(); err != nil {
			all = append(all, "it is not known what the disk holds of "+h.origin)
		}
	}
	if err := n.hosting.rebuilding(); err != nil {
		all = append(all, err.Error())
	}
	if err := n.hosting.directory.Unfit(); err != nil && !n.hosting.directory.Rebuilding() {
		all = append(all, "the node does not lead: "+err.Error())
	}
	return all
}

// memoryBytes is what the Go runtime has from the operating system and has not given back.
func memoryBytes() uint64 {
	sample := []runtimemetrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	runtimemetrics.Read(sample)
	return sample[0].Value.Uint64() - sample[1].Value.Uint64()
}

// roleName is what the node is for the ledger. One that does not vote is a learner.
func (h *hosted) roleName(r raftnode.Role) string {
	if in := h.Policy(); in != nil {
		if m := in.Newest.Member(h.node.cfg.Self().ID); m == nil || m.Learner {
			return "learner"
		}
	}
	switch r {
	case raftnode.RoleLeader:
		return "leader"
	case raftnode.RoleCandidate, raftnode.RolePreCandidate:
		return "candidate"
	}
	return "follower"
}

// measureStore keeps the size of the ledgers' directory up to date, seldom: it
// reads the directory.
func measureStore(dir string, size *atomic.Int64, done <-chan struct{}) {
	for {
		var sum int64
		// WalkDir does not follow a link: the ledger's directory may be one.
		root, err := filepath.EvalSymlinks(dir)
		if err != nil {
			root = dir
		}
		_ = filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil // a file that has just been removed
			}
			if info, err := d.Info(); err == nil {
				sum += diskUsage(info)
			}
			return nil
		})
		size.Store(sum)
		select {
		case <-done:
			return
		case <-time.After(10 * time.Second):
		}
	}
}
