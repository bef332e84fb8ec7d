package node_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
)

// TestNodeWithWrongClock: n3 is honest here, and n1's clock is an hour ahead. n1 does not lead,
// and the ledger's time is that of the others.
func TestNodeWithWrongClock(t *testing.T) {
	t.Parallel()
	l := newLiar(t, map[string]func() time.Time{"n1": ahead(time.Hour)})
	l.eventually("n1 finds its clock wrong", func() bool { return l.metric("n1", "cairn_clock_unfit") == 1 })
	l.eventually("n2 leads", func() bool { return l.metric("n2", "cairn_raft_leader") == 1 })
	l.unharmed("first", "second")
	if offset := l.metric("n1", "cairn_clock_offset_seconds"); offset < 3500 || offset > 3700 {
		t.Errorf("n1 says that its clock is %v s ahead, want 3600", offset)
	}
	if l.metric("n2", "cairn_clock_unfit") != 0 {
		t.Error("n2 does not lead because of n1's clock")
	}
}

// TestClockFarBehind: n3 is honest here, and n2's clock falls an hour behind. n2 stores no block,
// says so, and lags alone; when its clock is right it catches up.
func TestClockFarBehind(t *testing.T) {
	t.Parallel()
	var behind atomic.Int64
	l := newLiar(t, map[string]func() time.Time{"n2": func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }})
	behind.Store(int64(time.Hour)) // not before n2 has stored that there is a ledger
	l.eventually("n1 leads", func() bool {
		return l.metric("n1", "cairn_raft_leader") == 1 && l.metric("n2", "cairn_clock_unfit") == 1
	})
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	defer cancel()
	if _, err := l.client.Append(ctx, client.Entry{Key: []byte("k"), Payload: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	l.eventually("n2 refuses the block", func() bool {
		return l.metric("n2", "cairn_raft_refused_messages_total", `member="n1"`, `reason="entry"`) > 0
	})
	if size := l.metric("n2", "cairn_ledger_size"); size != 1 {
		t.Errorf("n2 has %v entries, want the genesis alone while its clock is behind", size)
	}
	behind.Store(0)
	l.eventually("n2 catches up", func() bool {
		return l.metric("n2", "cairn_ledger_size") == 2 && l.metric("n2", "cairn_clock_unfit") == 0
	})
	l.unharmed("first")
}
