package formation

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/raftnode/transport"
)

// Options of a Memory.
type Options struct {
	// State is what the disk holds.
	State State
	// FeatureLevel is the newest one that this node's program knows.
	FeatureLevel uint32
	// Persist replaces what the disk holds. When it returns nil the new content survives a power
	// failure. After an error the disk may hold either content.
	Persist func(content []byte) error
	// Fatal is told when Persist has failed. The node has to stop.
	Fatal func(error)
	// Met is told of every introduction: who it was, and why the member was refused, if it was.
	Met func(peer uint64, err error)
}

// Memory keeps a State and its file the same. It is the transport's Membership.
type Memory struct {
	opts   Options
	formed atomic.Bool

	mu struct {
		sync.Mutex
		state State // the disk holds it
		err   error // why nothing can be remembered any more
		// levels are the feature levels of the nodes that have been met since the start.
		levels map[uint64]uint32
	}
}

// NewMemory makes the Membership of a node.
func NewMemory(o Options) *Memory {
	m := &Memory{opts: o}
	m.mu.state, m.mu.levels = o.State, map[uint64]uint32{}
	m.formed.Store(o.State.Formed())
	return m
}

// State returns what the disk holds.
func (m *Memory) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.state
}

// Introduce implements transport.Membership.
func (m *Memory) Introduce() transport.Introduction {
	in := m.State().introduction()
	in.FeatureLevel = m.opts.FeatureLevel
	return in
}

// FeatureLevel returns the newest feature level that the programs of this node and of the others know,
// by what they said when they were met last; 0 while one has not been met since the start.
func (m *Memory) FeatureLevel(others []uint64) uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	level := m.opts.FeatureLevel
	for _, id := range others {
		level = min(level, m.mu.levels[id])
	}
	return level
}

// Formed implements transport.Membership.
func (m *Memory) Formed() bool { return m.formed.Load() }

// Meet implements transport.Membership.
func (m *Memory) Meet(peer uint64, in transport.Introduction) (changed bool, err error) {
	changed, err = m.meet(peer, in)
	m.opts.Met(peer, err)
	return changed, err
}

func (m *Memory) meet(peer uint64, in transport.Introduction) (changed bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.err != nil {
		return false, m.mu.err
	}
	next, err := m.mu.state.learn(peer, in)
	if err != nil {
		return false, err
	}
	m.mu.levels[peer] = in.FeatureLevel
	content := next.Marshal()
	if string(content) == string(m.mu.state.Marshal()) {
		return false, nil
	}
	if err := m.opts.Persist(content); err != nil {
		m.mu.err = errors.Wrap(err, "remember the members")
		m.opts.Fatal(m.mu.err)
		return false, m.mu.err
	}
	m.mu.state = next
	m.formed.Store(next.Formed())
	return true, nil
}
