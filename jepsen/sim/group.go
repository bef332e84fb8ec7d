package sim

import (
	"fmt"
	"math/rand/v2"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/raftnode"
)

// group is one ledger of the cluster: what its clients and its checkers know. Every node hosts it,
// as a member of a Raft group of its own. The ledgers of a run share the nodes, their disks and
// their network, so every fault hits all of them; each is checked on its own.
type group struct {
	w        *world
	id       uint64         // of the Raft group, from 1, and of the ledger's keys in the store
	program  ledger.Program // nil: the log
	business business       // nil: payloads
	genesis  []byte         // the block that the ledger begins with
	raft     *check.Raft
	seals    *sealCheck
	load     *workload
	// changes: members come and go. founders are those at first, newest is the last id that came.
	changes  bool
	founders int
	newest   uint64
}

func newGroup(w *world, id uint64) (*group, error) {
	g := &group{w: w, id: id}
	g.program, g.business = programs(w, g.stream("program", 0))
	g.planMembers()
	genesis := simKeys().genesis(id, g.founders, g.program)
	var err error
	if g.genesis, err = ledger.EncodeGenesis(genesis, "spiffe://sim.example/operator", 0); err != nil {
		return nil, err
	}
	policy, err := genesis.Policy()
	if err != nil {
		return nil, errors.Wrap(err, "the policy of the genesis")
	}
	g.raft = check.NewRaft(w.opt.Nodes, check.RaftEntry{Index: 1, Term: 1, Hash: hashOf(g.genesis)})
	g.raft.Changed(0, g.founderIDs())
	for _, n := range w.nodes[1:] {
		g.raft.CountsVoters(n.id, 0, g.founderIDs())
	}
	g.seals = newSealCheck(g, policy)
	return g, nil
}

// stream is a generator of the ledger's own for a purpose.
func (g *group) stream(purpose string, n int) *rand.Rand {
	return stream(g.w.opt.Seed, purpose, (g.id-1)<<32+uint64(n))
}

// share is the ledger's part of what all ledgers have together.
func (g *group) share(all int) int {
	n, i := len(g.w.groups), int(g.id-1)
	return (all + n - 1 - i) / n
}

// idleOps is how many operations an idle ledger has.
const idleOps = 5

// ops is how many operations the ledger's clients may issue: as many as those of the other ledgers,
// or very few. An idle ledger is last, and there is one in every other run of several ledgers.
func (g *group) ops() int {
	if n := len(g.w.groups); n > 1 && int(g.id) == n && stream(g.w.opt.Seed, "idle", 0).IntN(2) == 0 {
		return min(idleOps, g.share(g.w.opt.Ops))
	}
	return g.share(g.w.opt.Ops)
}

// label names the ledger behind a few words; "" when there is only one.
func (g *group) label(words string) string {
	if len(g.w.groups) == 1 {
		return ""
	}
	return fmt.Sprintf("%sledger %d", words, g.id)
}

func (g *group) fail(kind string, index uint64, format string, args ...any) {
	g.w.violate(g.violation(check.Violation{Kind: kind, Index: index, A: -1, B: -1, Text: fmt.Sprintf(format, args...)}))
}

// violation says in a violation's text which ledger it is about.
func (g *group) violation(v check.Violation) check.Violation {
	if of := g.label(""); of != "" {
		v.Text = of + ": " + v.Text
	}
	return v
}

// on is the member on a node, nil while it does not run.
func (g *group) on(node uint64) *member {
	if p := g.w.nodes[node].proc; p != nil && p.running {
		return p.members[g.id-1]
	}
	return nil
}

// leader is the member that leads the highest term, nil when nobody leads.
func (g *group) leader() (best *member) {
	for _, n := range g.w.nodes[1:] {
		if m := g.on(n.id); m != nil && m.state.Role == raftnode.RoleLeader && (best == nil || m.state.Term > best.state.Term) {
			best = m
		}
	}
	return best
}
