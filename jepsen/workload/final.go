package workload

import (
	"context"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
)

// Final is the ledger after everything has healed.
type Final struct {
	Entries []check.FinalEntry
	// Nodes is how many of them were read, each from its beginning to its end.
	Nodes int
	// Unsettled is what kept the cluster from coming to rest; "" nothing.
	Unsettled string
}

// LastAppend appends until it succeeds: everything has healed, so it must.
func (w *Workload) LastAppend(ctx context.Context) error {
	j := newJournal(w)
	defer j.end()
	api, err := w.cluster.Dial(ctx, roles[0])
	if err != nil {
		return err
	}
	defer api.Close()
	rng := w.rng("last", 0)
	for {
		payload := w.payload(rng)
		op := history.Op{Kind: history.Append, Keyless: true, Entries: []history.Entry{{Key: KeyOf("", nil, payload), Body: history.DigestOf(payload)}}}
		id := j.invoke(&op)
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		got, err := api.Append(attempt, client.Entry{Payload: payload})
		cancel()
		if err == nil {
			op.Outcome, op.Entries[0].Index = history.OK, got.Index
			w.saw(got.Index + 1)
		}
		j.complete(id, &op)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Wrap(err, "append after everything has healed")
		}
	}
}

// settle waits until all nodes have one size and one root, and sealed it.
func (w *Workload) settle(ctx context.Context) (size uint64, err error) {
	for {
		size, err = w.agreement(ctx)
		if err == nil || ctx.Err() != nil {
			return size, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (w *Workload) agreement(ctx context.Context) (uint64, error) {
	var first *cairnv1.StatusResponse
	for _, conn := range w.users[0].conns {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		st, err := conn.Ledger.Status(attempt, &cairnv1.StatusRequest{})
		cancel()
		switch {
		case err != nil:
			return 0, errors.Wrapf(err, "ask %s", conn.Name)
		case st.Size < w.known.Load():
			return 0, errors.Newf("%s has %d entries, %d have been seen", conn.Name, st.Size, w.known.Load())
		case first == nil:
			first = st
		case st.Size != first.Size || st.Commit != first.Commit || st.Term != first.Term:
			return 0, errors.Newf("%s has size %d, commit %d, term %d; %s has size %d, commit %d, term %d",
				first.Node, first.Size, first.Commit, first.Term, st.Node, st.Size, st.Commit, st.Term)
		case string(st.Root) != string(first.Root):
			w.violate("diverged", st.Size, "%s has root %x for size %d, %s has %x", first.Node, first.Root, st.Size, st.Node, st.Root)
		}
		if st.SealedSize != st.Size {
			return 0, errors.Newf("%s has sealed %d of %d entries", conn.Name, st.SealedSize, st.Size)
		}
	}
	return first.Size, nil
}

// ReadFinal waits until all nodes agree, but not longer than settle, reads the ledger from
// each of them, entry by entry, and compares. How long reading takes is a matter of the
// ledger's size. Call it after Stop and LastAppend.
func (w *Workload) ReadFinal(ctx context.Context, settle time.Duration) (*Final, error) {
	f := &Final{}
	settling, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	size, err := w.settle(settling)
	if err != nil {
		f.Unsettled = err.Error()
		size = w.known.Load()
	}
	var readErr error
	for _, conn := range w.users[0].conns {
		if err := w.readNode(ctx, conn.Name, conn.Ledger, size, f); err != nil {
			readErr = errors.CombineErrors(readErr, errors.Wrapf(err, "read the final ledger from %s", conn.Name))
			continue
		}
		f.Nodes++
	}
	if f.Nodes == 0 {
		return nil, readErr
	}
	if readErr != nil && f.Unsettled == "" {
		f.Unsettled = readErr.Error()
	}
	w.finalHeads()
	if again, err := w.agreement(ctx); err == nil && again != size {
		return nil, errors.Newf("the ledger grew from %d to %d entries while it was read, and nobody appends", size, again)
	}
	return f, nil
}

func (w *Workload) readNode(ctx context.Context, name string, api cairnv1.LedgerClient, size uint64, f *Final) error {
	stream, err := api.Range(ctx, &cairnv1.RangeRequest{Limit: max(size, 1), Consistency: cairnv1.Consistency_CONSISTENCY_LOCAL, MinSize: size})
	if err != nil {
		return err
	}
	fill := f.Nodes == 0
	if fill {
		f.Entries = make([]check.FinalEntry, 0, size)
	}
	n, stamped := uint64(0), int64(0)
	err = eachLeaves(stream, 0, func(first, _ uint64, leaves [][]byte) bool {
		for i, leaf := range leaves {
			hash := merkle.LeafHash(leaf)
			if n++; !fill {
				if at := first + uint64(i); at >= uint64(len(f.Entries)) || f.Entries[at].Leaf != hash {
					w.violate("diverged", at, "%s holds another entry than %s", name, w.users[0].conns[0].Name)
				}
				continue
			}
			at := first + uint64(i)
			e, err := ledger.ParseLeaf(leaf)
			if err != nil {
				w.violate("wrong-answer", at, "%s holds what is no leaf: %v", name, err)
				return false
			}
			if e.Time < stamped {
				w.violate("time", at, "the ledger's time goes back from %d to %d µs", stamped, e.Time)
			}
			stamped = e.Time
			genesis, err := begins(at, leaf, w.cluster.Origin())
			if err != nil {
				w.violate("genesis", at, "the ledger of %s does not begin with its genesis: %v", name, err)
			}
			f.Entries = append(f.Entries, check.FinalEntry{Key: KeyOf(e.Principal, e.Key, e.Body), Body: history.DigestOf(e.Body), Leaf: hash, Genesis: genesis})
		}
		return true
	}, w)
	if err == nil && n != size {
		err = errors.Newf("%d entries, want %d", n, size)
	}
	return err
}

// begins says whether the entry at an index is the genesis of the origin's ledger. An error says
// that it had to be.
func begins(at uint64, leaf []byte, origin string) (bool, error) {
	if at > 0 {
		return false, nil
	}
	g, err := ledger.GenesisOf(leaf)
	if err == nil && g.Origin != origin {
		err = errors.Newf("it is that of %q, not of %q", g.Origin, origin)
	}
	return err == nil, err
}

// finalHeads asks every node for its head, as a part of the history.
func (w *Workload) finalHeads() {
	c := &cl{journal: newJournal(w), rng: w.rng("heads", 0), user: w.users[0], pinned: true}
	defer c.end()
	for i := range c.user.conns {
		c.node = i
		c.head()
		c.checkpoint()
	}
}
