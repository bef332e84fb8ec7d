package node

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/ledger"
)

// newerBlock is a block of a version that this program does not know.
func newerBlock(t *testing.T) []byte {
	t.Helper()
	b, err := ledger.EncodeBlock(ledger.Anchor{}, 9, []ledger.Batch{{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte("x")}}}})
	if err != nil {
		t.Fatal(err)
	}
	b[4]++
	end := len(b) - 4
	binary.BigEndian.PutUint32(b[end:], crc32.Checksum(b[:end], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// TestLedgerHaltsAlone: a replica that needs a newer program, or that has another root than a
// majority, stops alone. The node serves its other ledgers, is ready, and says which one has stopped
// and why.
func TestLedgerHaltsAlone(t *testing.T) {
	t.Parallel()
	const well, newer, wrong = "example.org/well", "example.org/newer", "example.org/wrong"
	n := hermit(t)
	var creations [][]byte
	for i, origin := range []string{well, newer, wrong} {
		creations = append(creations, n.creation(t, origin, ledger.Log{}))
		g, err := n.genesis(origin, 1, ledger.Log{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		group := directory.Group + uint64(i+1)
		block, err := (&directory.Ledger{Genesis: g, Group: group, Creator: "creator", Time: 7}).Block()
		if err == nil {
			_, err = replica.Bootstrap(n.wal, group, idsOf(n.cfg.founders()), block)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	n.committed(t, directory.Group, creations...)
	n.committed(t, directory.Group+2, newerBlock(t))
	n.hostAlone(t)
	halted := func(origin, why string) {
		t.Helper()
		n.soon(t, origin+" halts", func() bool { return n.hosting.halted(origin) != nil })
		if err := n.hosting.halted(origin); !strings.Contains(err.Error(), origin) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s has halted: %v, want its name and %q", origin, err, why)
		}
		if _, ok := n.hosting.backend(origin); ok {
			t.Errorf("%s is served although it has halted", origin)
		}
		if _, ok := n.hosting.page(origin); ok {
			t.Errorf("%s is on the read path although it has halted", origin)
		}
		h := n.hosting.find(origin)
		n.soon(t, origin+" refuses", func() bool {
			_, err := h.Append(t.Context(), ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte("x")}}})
			var why *server.HaltedError
			return errors.As(err, &why) && !errors.Is(err, server.ErrIndefinite)
		})
		for _, f := range ledgerFigures {
			if strings.Contains(f.desc.String(), "cairn_ledger_halted") && (f.read(h) != 1 || f.read(n.hosting.find(well)) != 0) {
				t.Errorf("cairn_ledger_halted is %v of %s and %v of %s, want 1 and 0", f.read(h), origin, f.read(n.hosting.find(well)), well)
			}
		}
	}
	halted(newer, "upgrade this node")

	n.soon(t, wrong+" has a leader", func() bool {
		h := n.hosting.find(wrong)
		return h != nil && h.State().Serving
	})
	waiting := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), unitWait)
		defer cancel()
		waiting <- n.hosting.find(wrong).Replica.Ledger().WaitSize(ctx, 1<<40)
	}()
	time.Sleep(time.Millisecond)
	n.hosting.find(wrong).Halt(&ledger.DivergenceError{Reason: "a majority of the replicas has another root"}, nil)
	n.hosting.find(wrong).Halt(errors.New("what was under way fails"), nil)
	halted(wrong, "another root")
	var why *server.HaltedError
	if err := <-waiting; !errors.As(err, &why) {
		t.Errorf("who waits for %s gets %v, want a *server.HaltedError", wrong, err)
	}

	n.soon(t, "all others have leaders", func() bool { return n.hosting.leaderless() == nil })
	r, err := n.hosting.find(well).Append(t.Context(), ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte("x")}}})
	if err != nil || r.Err != nil || r.Indexes[0] != 1 {
		t.Errorf("an append to another ledger: %+v, %v", r, err)
	}
	select {
	case err := <-n.fatal:
		t.Errorf("the node stops: %v", err)
	default:
	}
}

// TestNodeHalts: the directory, and whatever is not one ledger's own, still stops the node.
func TestNodeHalts(t *testing.T) {
	t.Parallel()
	n := hermit(t)
	n.hostAlone(t)
	other := &hosted{node: n, origin: "example.org/other"}
	diverged := &ledger.DivergenceError{Reason: "a majority of the replicas has another root"}
	for name, stop := range map[string]func(){
		"the directory needs a newer program": func() { n.hosting.directory.ended(ledger.ErrNewerBlock) },
		"the directory is outvoted":           func() { n.hosting.directory.Halt(diverged, nil) },
		"the log fails":                       func() { other.ended(errors.New("write to the log")) },
		"the store does not hold what it did": func() { other.ended(diverged) },
		"a checkpoint cannot be stored":       func() { other.Halt(errors.New("store sealed checkpoint"), nil) },
		"keys have signed two histories":      func() { other.Halt(diverged, evidenceOfTwo()) },
	} {
		stop()
		select {
		case <-n.fatal:
		case <-time.After(unitWait):
			t.Errorf("%s, and the node goes on", name)
		}
	}
}
