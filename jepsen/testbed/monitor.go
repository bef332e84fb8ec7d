package testbed

import (
	"context"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/cluster/local"
)

// Sample is what a node said about itself.
type Sample struct {
	At     time.Time
	Role   string // as in StatusResponse; "down" if it did not answer
	Leader string // whom it takes for the leader, "" nobody
	Term   uint64
	Commit uint64
	Size   uint64
	Sealed uint64
}

// Monitor asks every node again and again how it is.
type Monitor struct {
	conns  []*Conn
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	samples [][]Sample // by node, in order of time
}

const (
	monitorEvery   = 100 * time.Millisecond
	monitorTimeout = 500 * time.Millisecond
	maxSamples     = 1 << 20 // for a node; later ones are not kept
)

func newMonitor(c *local.Cluster) (*Monitor, error) {
	conns, _, err := Dial(c, "admin")
	if err != nil {
		return nil, err
	}
	m := &Monitor{conns: conns, samples: make([][]Sample, len(conns))}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	for i := range conns {
		m.wg.Add(1)
		go func() {
			defer m.wg.Done()
			for ctx.Err() == nil {
				m.sample(ctx, i)
				select {
				case <-ctx.Done():
				case <-time.After(monitorEvery):
				}
			}
		}()
	}
	return m, nil
}

func (m *Monitor) sample(ctx context.Context, i int) {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	s := Sample{At: time.Now(), Role: "down"}
	if st, err := m.conns[i].Ledger.Status(ctx, &cairnv1.StatusRequest{}); err == nil {
		s.Role, s.Leader, s.Term, s.Commit, s.Size, s.Sealed = st.Role, st.Leader, st.Term, st.Commit, st.Size, st.SealedSize
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.samples[i]) < maxSamples {
		m.samples[i] = append(m.samples[i], s)
	} else {
		m.samples[i][maxSamples-1] = s
	}
}

// Samples returns what every node said, in order of time.
func (m *Monitor) Samples() [][]Sample {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([][]Sample, len(m.samples))
	for i := range out {
		out[i] = append(out[i], m.samples[i]...)
	}
	return out
}

// Newest returns what each node said last.
func (m *Monitor) Newest() []Sample {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Sample, len(m.samples))
	for i, s := range m.samples {
		if out[i].Role = "down"; len(s) > 0 {
			out[i] = s[len(s)-1]
		}
	}
	return out
}

// ErrNoLeader says that no node claims to lead.
var ErrNoLeader = errors.New("no leader")

// Leader returns the node that claims to lead, with the highest term, and this term.
func (m *Monitor) Leader() (node int, term uint64, err error) {
	node = -1
	for i, s := range m.Newest() {
		if s.Role == "leader" && s.Term > term {
			node, term = i, s.Term
		}
	}
	if node < 0 {
		return -1, 0, ErrNoLeader
	}
	return node, term, nil
}

// AwaitLeader waits for a leader that is neither of the excluded nodes.
func (m *Monitor) AwaitLeader(ctx context.Context, except ...int) (node int, term uint64, err error) {
	for {
		node, term, err = m.Leader()
		for _, i := range except {
			if node == i {
				err = ErrNoLeader
			}
		}
		if err == nil {
			return node, term, nil
		}
		select {
		case <-ctx.Done():
			return -1, 0, errors.Wrap(err, "wait for a leader")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Transfer asks the leader to hand over to a node.
func (m *Monitor) Transfer(ctx context.Context, leader, to int) error {
	_, err := m.conns[leader].Admin.TransferLeadership(ctx, &cairnv1.TransferLeadershipRequest{To: m.conns[to].Name})
	return errors.Wrap(err, "transfer leadership")
}

func (m *Monitor) close() {
	m.cancel()
	m.wg.Wait()
	CloseAll(m.conns)
}
