package node_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/raftnode/transport"
)

const (
	liarID   = 3
	testWait = 30 * time.Second // only ever reached by a failing test
)

// liar is node n3, played by the test with n3's keys, against the real nodes n1 and n2.
// It follows honestly until it is told to lie.
type liar struct {
	t         *testing.T
	cluster   *local.Cluster
	transport *transport.Transport
	group     uint64
	client    *client.Client
	http      map[string]string // URL by node name
	ended     map[string]chan error

	mu struct {
		sync.Mutex
		log     []*raftpb.Entry // log[i] has index i+1
		term    uint64
		leader  uint64
		commit  uint64
		granted map[uint64]uint64 // term of the newest vote, by voter
		acks    map[uint64]uint64 // newest index acknowledged, by follower
		leading bool              // of term; follows nobody
	}
}

// newLiar starts n1 and n2 as real nodes, and n3 as the liar. A node's wall clock is the one in
// clocks, if there is one.
func newLiar(t *testing.T, clocks map[string]func() time.Time) *liar {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.Create(local.Options{Dir: filepath.Join(t.TempDir(), "c"), Nodes: 3, Executable: exe, LogLevel: "error"})
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{t: t, cluster: c, http: map[string]string{}, ended: map[string]chan error{}}
	l.mu.granted, l.mu.acks = map[uint64]uint64{}, map[uint64]uint64{}
	ctx, cancel := context.WithCancel(context.Background())
	for _, name := range []string{"n1", "n2"} {
		cfg := l.config(name)
		node.SetClock(&cfg, clocks[name])
		info, err := c.Node(name)
		if err != nil {
			t.Fatal(err)
		}
		l.http[name] = info.HTTPURL()
		end := make(chan error, 1)
		l.ended[name] = end
		go func() { end <- node.Run(ctx, cfg) }()
	}
	cfg := l.config("n3")
	if l.transport, err = node.ImpostorTransport(cfg, clocks["n3"]); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", cfg.Listen.Peer)
	if err != nil {
		t.Fatal(err)
	}
	// In the directory n3 is honest, so that the ledger can be created.
	l.group = liarGroup
	honest := &liar{t: t, group: directory.Group, transport: l.transport}
	honest.mu.granted, honest.mu.acks = map[uint64]uint64{}, map[uint64]uint64{}
	l.transport.Register(honest.group, honest)
	l.transport.Register(l.group, l)
	l.transport.Start(ln)
	l.found(ctx)
	t.Cleanup(func() {
		l.transport.Close()
		cancel()
		for name, end := range l.ended {
			select {
			case <-end:
			case <-time.After(testWait):
				t.Errorf("%s does not stop", name)
			}
		}
	})
	if l.client, err = c.Dial(ctx, "writer"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.client.Close() })
	return l
}

// liarGroup is the Raft group of the ledger that the liar harms: the first one that the directory
// lists.
const liarGroup = directory.Group + 1

// found has the ledger created.
func (l *liar) found(ctx context.Context) {
	l.t.Helper()
	admin, err := l.cluster.DialLedger(ctx, l.cluster.Directory(), "admin")
	if err != nil {
		l.t.Fatal(err)
	}
	defer admin.Close()
	ctx, cancel := context.WithTimeout(ctx, testWait)
	defer cancel()
	info, _, err := admin.CreateLedger(ctx, l.cluster.Origin(), "log")
	if err != nil || info.Group != liarGroup {
		l.t.Fatalf("create the ledger: %+v, %v; want group %d", info, err, liarGroup)
	}
}

func (l *liar) config(name string) node.Config {
	l.t.Helper()
	cfg, err := node.LoadConfig(filepath.Join(l.cluster.NodeDir(name), "node.yaml"))
	if err != nil {
		l.t.Fatal(err)
	}
	return cfg
}

func (l *liar) eventually(what string, ok func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(testWait); !ok(); time.Sleep(10 * time.Millisecond) {
		l.alive()
		if time.Now().After(deadline) {
			l.t.Fatalf("did not happen: %s", what)
		}
	}
}

// alive fails the test when an honest node has ended.
func (l *liar) alive() {
	l.t.Helper()
	for name, end := range l.ended {
		select {
		case err := <-end:
			end <- err
			l.t.Fatalf("%s ended: %v", name, err)
		default:
		}
	}
}

// append appends an entry, waits for its receipt and returns its index. The client verifies the
// receipt.
func (l *liar) append(payload string) client.Appended {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), testWait)
	defer cancel()
	a, err := l.client.Append(ctx, client.Entry{Key: []byte("key of " + payload), Payload: []byte(payload)}, client.Sealed())
	if err != nil {
		l.alive()
		l.t.Fatalf("append %q: %v", payload, err)
	}
	return a
}

// unharmed demands that n1 and n2 run, that every entry is still there, and that a new one is
// appended and sealed with a time that no lie has moved.
func (l *liar) unharmed(payloads ...string) {
	l.t.Helper()
	l.append(fmt.Sprint("after ", len(payloads), " entries"))
	ctx, cancel := context.WithTimeout(l.t.Context(), testWait)
	defer cancel()
	for _, p := range payloads {
		a := l.append(p) // a repetition: the original index
		e, err := l.client.Get(ctx, a.Index)
		if err != nil || string(e.Payload) != p {
			l.t.Errorf("entry %d is %q, %v; want %q", a.Index, e.Payload, err, p)
		}
		if ahead := time.Until(e.Time); ahead > time.Minute {
			l.t.Errorf("entry %d has a time %s in the future", a.Index, ahead)
		}
	}
	l.alive()
}

// metric is the sum of a metric's samples whose labels contain all of these texts. Samples of other
// ledgers do not count.
func (l *liar) metric(name, metric string, labels ...string) (sum float64) {
	l.t.Helper()
	resp, err := http.Get(l.http[name] + "/metrics")
	if err != nil {
		l.alive()
		return 0
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
next:
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, metric) || strings.Contains(line, `{ledger="`) && !strings.Contains(line, `{ledger="`+l.cluster.Origin()+`"`) {
			continue
		}
		for _, want := range labels {
			if !strings.Contains(line, want) {
				continue next
			}
		}
		var v float64
		if _, err := fmt.Sscan(line[strings.LastIndex(line, " "):], &v); err != nil {
			l.t.Fatalf("%s: %v", line, err)
		}
		sum += v
	}
	return sum
}

// refused waits until both honest nodes have refused messages of the liar for a reason.
func (l *liar) refused(reason string) {
	l.t.Helper()
	l.counted("cairn_raft_refused_messages_total", `member="n3"`, `reason="`+reason+`"`)
}

// counted waits until a counter of both honest nodes has risen above 0.
func (l *liar) counted(metric string, labels ...string) {
	l.t.Helper()
	for name := range l.http {
		l.eventually(fmt.Sprint(name, " counts ", metric, labels), func() bool { return l.metric(name, metric, labels...) > 0 })
	}
}

// lie sends a message to both honest nodes.
func (l *liar) lie(m *raftpb.Message) {
	for _, to := range []uint64{1, 2} {
		l.send(to, m)
	}
}

func (l *liar) send(to uint64, m *raftpb.Message) {
	c := &raftpb.Message{Type: m.Type, Term: m.Term, LogTerm: m.LogTerm, Index: m.Index, Commit: m.Commit, Entries: m.Entries,
		Reject: m.Reject, RejectHint: m.RejectHint, Context: m.Context}
	from := uint64(liarID)
	c.From, c.To = &from, &to
	l.transport.SendRaft(l.group, c)
	l.transport.Flush(false)
}

// HandleRaft follows honestly, and remembers votes and acknowledgements.
func (l *liar) HandleRaft(_, from uint64, m *raftpb.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch m.GetType() {
	case raftpb.MsgVoteResp:
		if !m.GetReject() {
			l.mu.granted[from] = m.GetTerm()
		}
		return
	case raftpb.MsgAppResp:
		if l.mu.leading && m.GetTerm() == l.mu.term && !m.GetReject() {
			l.mu.acks[from] = m.GetIndex()
		}
	}
	if m.GetTerm() > l.mu.term && m.GetType() != raftpb.MsgPreVote {
		l.mu.term, l.mu.leader, l.mu.leading = m.GetTerm(), 0, false
	}
	if l.mu.leading || m.GetTerm() < l.mu.term {
		return
	}
	switch m.GetType() {
	case raftpb.MsgHeartbeat:
		l.mu.leader = from
		l.mu.commit = max(l.mu.commit, m.GetCommit())
		l.send(from, &raftpb.Message{Type: raftpb.MsgHeartbeatResp.Enum(), Term: m.Term, Context: m.Context})
	case raftpb.MsgApp:
		l.mu.leader = from
		answer := &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: m.Term}
		prev := m.GetIndex()
		if last := uint64(len(l.mu.log)); prev > last || prev > 0 && l.mu.log[prev-1].GetTerm() != m.GetLogTerm() {
			reject, hint, none := true, min(last, prev-1), uint64(0)
			answer.Reject, answer.RejectHint, answer.Index, answer.LogTerm = &reject, &hint, &prev, &none
		} else {
			l.mu.log = append(l.mu.log[:prev:prev], m.GetEntries()...)
			l.mu.commit = max(l.mu.commit, min(m.GetCommit(), uint64(len(l.mu.log))))
			end := uint64(len(l.mu.log))
			answer.Index = &end
		}
		l.send(from, answer)
	}
}

// HandleBeat follows like HandleRaft.
func (l *liar) HandleBeat(group, from uint64, b transport.Beat) {
	l.HandleRaft(group, from, b.Message(from, liarID))
}

// HandleApp, PeerUp, PeerDown and Unreachable complete transport.Handler.
func (l *liar) HandleApp(uint64, uint64, []byte) {}
func (l *liar) PeerUp(uint64)                    {}
func (l *liar) PeerDown(uint64, bool)            {}
func (l *liar) Unreachable(uint64)               {}

// followed waits until the liar has everything that is committed, and returns the term and the last
// index.
func (l *liar) followed() (term, last uint64) {
	l.t.Helper()
	l.eventually("n3 follows", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		term, last = l.mu.term, uint64(len(l.mu.log))
		return l.mu.leader != 0 && last > 0 && last == l.mu.commit
	})
	return term, last
}

// elect makes the liar the leader of a new term, with an entry of that term that both honest nodes
// store. It does what a hand-over does, which no lease prevents.
func (l *liar) elect() {
	l.t.Helper()
	for range 50 {
		l.followed()
		l.mu.Lock()
		l.mu.term++
		l.mu.leading, l.mu.leader = true, 0
		clear(l.mu.acks)
		term, last := l.mu.term, uint64(len(l.mu.log))
		lastTerm := l.mu.log[last-1].GetTerm()
		l.mu.Unlock()
		won := false
		// Asked again and again: were the question lost, n3 alone would be in this term, and hear
		// no leader any more.
		for deadline := time.Now().Add(2 * time.Second); !won && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			l.lie(&raftpb.Message{Type: raftpb.MsgVote.Enum(), Term: &term, Index: &last, LogTerm: &lastTerm, Context: []byte("CampaignTransfer")})
			l.mu.Lock()
			won = l.mu.granted[1] == term && l.mu.granted[2] == term
			l.mu.Unlock()
		}
		if won && l.replicate(nil) {
			return
		}
		l.mu.Lock()
		l.mu.leading = false
		l.mu.Unlock()
	}
	l.t.Fatal("n3 was never elected")
}

// replicate appends one entry with this data to both honest nodes and has it committed. It reports
// whether both stored it.
func (l *liar) replicate(data []byte) bool { return l.replicateEach(data, data) }

// replicateEach gives n1 and n2 different data in one position.
func (l *liar) replicateEach(first, second []byte) bool {
	l.mu.Lock()
	term, prev := l.mu.term, uint64(len(l.mu.log))
	prevTerm := l.mu.log[prev-1].GetTerm()
	at := prev + 1
	entry := func(data []byte) *raftpb.Entry { return &raftpb.Entry{Term: &term, Index: &at, Data: data} }
	l.mu.log = append(l.mu.log, entry(first))
	l.mu.Unlock()
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		l.mu.Lock()
		leading, commit := l.mu.leading, l.mu.commit
		stored := l.mu.acks[1] >= at && l.mu.acks[2] >= at
		if stored {
			l.mu.commit, commit = at, at
		}
		l.mu.Unlock()
		if !leading {
			return false
		}
		for to, data := range map[uint64][]byte{1: first, 2: second} {
			l.send(to, &raftpb.Message{Type: raftpb.MsgApp.Enum(), Term: &term, Index: &prev, LogTerm: &prevTerm, Commit: &commit, Entries: []*raftpb.Entry{entry(data)}})
		}
		if stored {
			l.lie(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: &term, Commit: &at})
			return true
		}
	}
	return false
}

// resign lets the honest nodes elect a leader among themselves, whom the liar follows.
func (l *liar) resign() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.leading, l.mu.leader = false, 0
	// What it may have alone is forgotten, as after a restart.
	l.mu.log = l.mu.log[:l.mu.commit:l.mu.commit]
}

func block(t *testing.T, anchor ledger.Anchor, at time.Time, payload string) []byte {
	t.Helper()
	b, err := ledger.EncodeBlock(anchor, at.UnixMicro(), []ledger.Batch{{Principal: "spiffe://liar", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte(payload)}}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ahead(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(d) } }

var noAnchor = ledger.Anchor{Root: merkle.EmptyRoot()}

// TestLiarFollows: a follower that sends terms without successor, acknowledges what does not
// exist, acts as a second leader, asks for cosignatures of false roots and has a clock a year
// ahead changes nothing; the honest two serve.
func TestLiarFollows(t *testing.T) {
	t.Parallel()
	l := newLiar(t, map[string]func() time.Time{"n3": ahead(365 * 24 * time.Hour)})
	l.append("first")
	term, last := l.followed()
	huge, beyond := uint64(math.MaxUint64), last+1000
	reject := true
	for _, typ := range []raftpb.MessageType{raftpb.MsgVote, raftpb.MsgPreVote, raftpb.MsgHeartbeat, raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgVoteResp, raftpb.MsgTimeoutNow} {
		l.lie(&raftpb.Message{Type: typ.Enum(), Term: &huge, Index: &huge, LogTerm: &huge, Commit: &huge})
	}
	l.lie(&raftpb.Message{Type: raftpb.MsgPreVoteResp.Enum(), Term: &huge, Reject: &reject})
	l.refused("term")
	// A second leader in the term, with a commit index beyond every log: the leader of the term
	// and its follower refuse.
	l.lie(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: &term, Commit: &beyond})
	l.refused("leader")
	// Acknowledgements of what does not exist, and then confirmations. Only the leader looks at
	// them.
	refusedAcks := func() float64 {
		return l.metric("n1", "cairn_raft_refused_messages_total", `reason="ack"`) + l.metric("n2", "cairn_raft_refused_messages_total", `reason="ack"`)
	}
	sent := 0
	for what, ack := range []*raftpb.Message{
		{Type: raftpb.MsgAppResp.Enum(), Index: &beyond},
		{Type: raftpb.MsgHeartbeatResp.Enum(), Context: binary.LittleEndian.AppendUint64(nil, huge)},
	} {
		former := float64(2 * sent) // at most so many refusals are of messages that were sent before
		l.eventually([]string{"the leader refuses acknowledgements", "the leader refuses confirmations"}[what], func() bool {
			term, _ := l.followed()
			ack.Term = &term
			l.lie(ack)
			sent++
			return refusedAcks() > former
		})
	}
	// Sealing messages in the leader's place: requests and objections for sizes and roots that do
	// not exist.
	for kind := range byte(8) {
		for _, size := range []uint64{0, 1, last, beyond, huge} {
			payload := binary.BigEndian.AppendUint64([]byte{1, kind}, size)
			payload = append(payload, make([]byte, merkle.HashSize)...)
			for to := range uint64(2) {
				l.transport.SendApp(liarGroup, to+1, payload)
			}
		}
	}
	l.counted("cairn_seal_problems_total")
	l.unharmed("first")
	for name := range l.http {
		if l.metric(name, "cairn_clock_unfit") != 0 {
			t.Errorf("%s does not lead because of one clock that is wrong", name)
		}
	}
}

// TestLiarLeads: a leader that proposes a block from the future, a feature level that nobody
// knows, a malformed block, one with a false anchor and one from the past, and that counts on
// entries which nobody has, stops nobody, loses nothing and does not move the ledger's time.
func TestLiarLeads(t *testing.T) {
	t.Parallel()
	l := newLiar(t, nil)
	l.append("first")

	l.elect()
	if l.replicate(block(t, noAnchor, time.Now().Add(365*24*time.Hour), "from the future")) {
		t.Fatal("both honest nodes store a block from the future")
	}
	l.refused("entry")
	l.resign()
	l.unharmed("first")

	level, err := ledger.EncodeBlock(noAnchor, time.Now().UnixMicro(), []ledger.Batch{ledger.LevelBatch("n3", ledger.FeatureLevel+1)})
	if err != nil {
		t.Fatal(err)
	}
	before := l.metric("n1", "cairn_raft_refused_messages_total", `reason="entry"`)
	l.elect()
	if l.replicate(level) {
		t.Fatal("both honest nodes store a feature level that they do not know")
	}
	l.eventually("n1 refuses the level", func() bool {
		return l.metric("n1", "cairn_raft_refused_messages_total", `reason="entry"`) > before
	})
	l.resign()
	l.unharmed("first")

	for _, x := range []struct {
		reason string
		data   []byte
	}{
		{"malformed", []byte("garbage")},
		{"anchor", block(t, ledger.Anchor{Size: 1, Root: merkle.LeafHash([]byte("false"))}, time.Now(), "false anchor")},
		{"anchor", block(t, ledger.Anchor{Size: 1 << 40, Root: merkle.LeafHash([]byte("false"))}, time.Now(), "a larger ledger")},
		{"time", block(t, noAnchor, time.Now().Add(-365*24*time.Hour), "from the past")},
	} {
		l.elect()
		if !l.replicate(x.data) {
			t.Fatalf("%s: the honest nodes did not store the entry", x.reason)
		}
		l.counted("cairn_ledger_ignored_blocks_total", `reason="`+x.reason+`"`)
		l.resign()
		l.unharmed("first")
	}

	l.elect()
	l.mu.Lock()
	term, beyond := l.mu.term, uint64(len(l.mu.log))+1000
	l.mu.Unlock()
	l.lie(&raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: &term, Commit: &beyond})
	l.refused("commit")
	l.resign()
	l.unharmed("first", "after 1 entries")
}

// TestLiarForks: a leader gives the honest two different blocks in one position. What was sealed
// before stays as it is, both go on, and nothing is sealed any more: no majority has one root.
func TestLiarForks(t *testing.T) {
	t.Parallel()
	l := newLiar(t, nil)
	first := l.append("first")
	l.elect()
	if !l.replicateEach(block(t, noAnchor, time.Now(), "for n1"), block(t, noAnchor, time.Now(), "for n2")) {
		t.Fatal("the honest nodes did not store the entries")
	}
	l.resign()
	l.counted("cairn_ledger_size")
	l.eventually("the fork is counted", func() bool {
		return l.metric("n1", "cairn_seal_problems_total")+l.metric("n2", "cairn_seal_problems_total") > 0
	})
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	defer cancel()
	// Appends go on. Whoever waits for a receipt waits in vain, however often the leader asks for
	// signatures.
	if _, err := l.client.Append(ctx, client.Entry{Key: []byte("later"), Payload: []byte("later")}); err != nil {
		t.Errorf("an append after the fork: %v", err)
	}
	short, stop := context.WithTimeout(ctx, 3*time.Second)
	defer stop()
	if a, err := l.client.Append(short, client.Entry{Key: []byte("never sealed"), Payload: []byte("x")}, client.Sealed()); err == nil {
		t.Errorf("entry %d after the fork has a receipt", a.Index)
	}
	for name := range l.http {
		if sealed := l.metric(name, "cairn_sealed_size"); sealed != float64(first.Index+1) {
			t.Errorf("%s: %v entries are sealed, want the %d of before the fork", name, sealed, first.Index+1)
		}
	}
	if e, err := l.client.Get(ctx, first.Index); err != nil || string(e.Payload) != "first" {
		t.Errorf("entry %d is %q, %v", first.Index, e.Payload, err)
	}
	l.alive()
}

var _ transport.Handler = (*liar)(nil)
