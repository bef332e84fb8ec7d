package zoo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// line is a request of one line of text, and machine answers it by writing it down.
type line string

func (l line) Size() int { return len(l) + 1 }

type machine struct {
	mu    sync.Mutex
	acked []string
	wait  map[line]chan struct{}
}

func (m *machine) BuildBlock(reqs []raftnode.Request) (block []byte, err error) {
	for _, r := range reqs {
		block = append(append(block, r.(line)...), '\n')
	}
	return block, nil
}

func (m *machine) Apply(run []raftnode.Committed) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range run {
		for _, r := range e.Requests {
			m.acked = append(m.acked, string(r.(line)))
			close(m.wait[r.(line)])
			delete(m.wait, r.(line))
		}
	}
	return nil
}

func (m *machine) Fail(reqs []raftnode.Request, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range reqs {
		if ch := m.wait[r.(line)]; ch != nil {
			close(ch)
			delete(m.wait, r.(line))
		}
	}
}

func (m *machine) HandleApp(uint64, []byte)    {}
func (m *machine) Fill(raftnode.Snapshot)      {}
func (m *machine) StateChanged(raftnode.State) {}

// wire connects the nodes of a process. Every node has a queue, and what does not
// fit is lost.
type wire struct {
	self  uint64
	peers map[uint64]*wire
	queue chan *raftpb.Message
}

func (w *wire) Register(_ uint64, h transport.Handler) {
	go func() {
		for m := range w.queue {
			h.HandleRaft(1, m.GetFrom(), m)
		}
	}()
}

func (w *wire) Unregister(uint64) {}
func (w *wire) Flush(bool)        {}

func (w *wire) SendRaft(_ uint64, m *raftpb.Message) {
	select {
	case w.peers[m.GetTo()].queue <- proto.Clone(m).(*raftpb.Message):
	default:
	}
}

func (w *wire) SendBeat(group, to uint64, b transport.Beat) {
	w.SendRaft(group, b.Message(w.self, to))
}

func (w *wire) SendApp(uint64, uint64, []byte) {}

// slowSyncs lets works pile up behind a sync, as they do behind a real one.
func slowSyncs(fs vfs.FS, latency time.Duration) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData {
			time.Sleep(latency)
		}
		return nil
	}))
}

// TestPowerFailsInGroupCommits: power fails on all nodes, again and again, while many
// callers keep the disks busy, so that most writes carry several works. Whatever was
// answered before a failure is found on a majority of the disks. The simulation runs
// the same driver as events; this test runs it as the goroutines of production.
func TestPowerFailsInGroupCommits(t *testing.T) {
	t.Parallel()
	const nodes = 3
	var (
		disks [nodes]*vfs.MemFS
		raft  [nodes]*raftnode.Node
		hosts [nodes]*raftnode.Host
		logs  [nodes]*wal.Log
		m     = &machine{wait: map[line]chan struct{}{}}
		wires = map[uint64]*wire{}
		err   error
	)
	for id := uint64(1); id <= nodes; id++ {
		wires[id] = &wire{self: id, peers: wires, queue: make(chan *raftpb.Message, 1<<12)}
	}
	// The slow disk is never needed, so that every answer rests on just two.
	latency := [nodes]time.Duration{200 * time.Microsecond, 200 * time.Microsecond, 20 * time.Millisecond}
	for i := range nodes {
		id := uint64(i + 1)
		disks[i] = vfs.NewCrashableMem()
		if logs[i], err = wal.Open(wal.Options{FS: slowSyncs(disks[i], latency[i]), Dir: "wal", Cluster: 1, Node: id}); err != nil {
			t.Fatal(err)
		}
		if err := logs[i].Bootstrap(1, wal.Mark{ConfState: &raftpb.ConfState{Voters: []uint64{1, 2, 3}}}); err != nil {
			t.Fatal(err)
		}
		hosts[i] = raftnode.NewHost(raftnode.HostConfig{Log: logs[i], Transport: wires[id]})
		if raft[i], err = hosts[i].Start(raftnode.Config{ID: id, Group: 1, Machine: m, MaxBlockBytes: 16}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for c := range 32 {
		callers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				r, answered := line(fmt.Sprintf("%d-%d", c, i)), make(chan struct{})
				m.mu.Lock()
				m.wait[r] = answered
				m.mu.Unlock()
				submitted := false
				for _, n := range raft {
					if submitted = n.Submit(r) == nil; submitted {
						break
					}
				}
				if !submitted {
					time.Sleep(time.Millisecond)
					continue
				}
				<-answered
			}
		})
	}
	rng, start := rand.New(rand.NewPCG(1, 1)), time.Now()
	for failure := 0; failure < 100; failure++ {
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond)
		m.mu.Lock()
		acked := m.acked[:len(m.acked):len(m.acked)]
		m.mu.Unlock()
		if len(acked) == 0 { // no leader yet
			if time.Since(start) > 20*time.Second {
				t.Fatal("no request is answered")
			}
			failure--
			continue
		}
		var left [nodes]*vfs.MemFS // all at once, before any is read
		for i := range nodes {
			left[i] = disks[i].CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0, RNG: rng})
		}
		copies := map[string]int{}
		for i := range nodes {
			for _, l := range held(t, left[i], uint64(i+1)) {
				copies[l]++
			}
		}
		if lost := slices.IndexFunc(acked, func(l string) bool { return copies[l] <= nodes/2 }); lost >= 0 {
			t.Errorf("power failure %d: request %s was answered, and is on %d of %d disks", failure, acked[lost], copies[acked[lost]], nodes)
			break
		}
	}
	cancel()
	callers.Wait()
	for i := range nodes {
		if err := raft[i].Stop(context.Background()); err != nil {
			t.Error(err)
		}
		hosts[i].Close()
		if err := logs[i].Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d requests were answered", len(m.acked))
}

// held returns the requests that the log on a disk has.
func held(t *testing.T, disk vfs.FS, node uint64) (out []string) {
	t.Helper()
	log, err := wal.Open(wal.Options{FS: disk, Dir: "wal", Cluster: 1, Node: node})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	g := log.Group(1)
	last, err := g.LastIndex()
	if err != nil || last == 0 {
		return nil
	}
	entries, err := g.Entries(1, last+1, 1<<62)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, strings.Fields(string(e.GetData()))...)
	}
	return out
}
