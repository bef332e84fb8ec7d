package bank

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	settleclient "github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/jepsen/settle"
	"github.com/cairnledger/cairn/jepsen/testbed"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/settlement"
)

// Verdict is what a ledger and its tellers came to.
type Verdict struct {
	// Broken are promises that were broken.
	Broken []string
	// Nodes is how many nodes were read, Entries how many entries each of them holds.
	Nodes   int
	Entries uint64
	Counts  settle.Counts
	// Answers, Refused and Unknown are requests for a command, by what was told.
	Answers, Refused, Unknown int
}

func (v *Verdict) breaks(format string, args ...any) {
	if len(v.Broken) < 20 {
		v.Broken = append(v.Broken, fmt.Sprintf(format, args...))
	}
}

// Judge waits until the nodes have come to rest, but not longer than patience, reads the ledger
// from each of them and compares. Call it after Stop, when everything has healed.
func (b *Bank) Judge(ctx context.Context, patience time.Duration) (*Verdict, error) {
	v := &Verdict{}
	conns, _, err := testbed.DialLedger(b.cluster, "admin", b.origin)
	if err != nil {
		return nil, err
	}
	defer testbed.CloseAll(conns)
	resting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	size, err := rest(resting, conns)
	if err != nil {
		v.breaks("the bank's ledger did not come to rest: %v", err)
	}
	var leaves [][]byte
	for _, c := range conns {
		got, err := read(ctx, c.Ledger, size)
		switch {
		case err != nil:
			v.breaks("the bank's ledger cannot be read from %s: %v", c.Name, err)
			continue
		case leaves == nil:
			leaves = got
		default:
			for i := range min(len(got), len(leaves)) {
				if !bytes.Equal(got[i], leaves[i]) {
					v.breaks("%s holds another entry %d of the bank's ledger than the node before", c.Name, i)
					break
				}
			}
		}
		v.Nodes++
	}
	v.Entries = uint64(len(leaves))
	m := b.replay(v, leaves)
	b.compareAnswers(v, leaves)
	if len(v.Broken) > 0 {
		return v, nil // the model may know no better what the accounts have
	}
	return v, b.compareBalances(ctx, v, m)
}

// rest waits until all nodes have one size and root, and nothing is due any more.
func rest(ctx context.Context, conns []*testbed.Conn) (size uint64, err error) {
	since := time.Now()
	for {
		var now uint64
		if now, err = agreement(ctx, conns); err == nil && now == size {
			if time.Since(since) > 2*time.Second { // the leader has done what was due
				return size, nil
			}
		} else {
			size, since = now, time.Now()
		}
		if ctx.Err() != nil {
			return size, errors.CombineErrors(err, ctx.Err())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func agreement(ctx context.Context, conns []*testbed.Conn) (size uint64, err error) {
	var first *cairnv1.StatusResponse
	for _, c := range conns {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		st, err := c.Ledger.Status(attempt, &cairnv1.StatusRequest{})
		cancel()
		switch {
		case err != nil:
			return 0, errors.Wrapf(err, "ask %s", c.Name)
		case first == nil:
			first = st
		case st.Size != first.Size || !bytes.Equal(st.Root, first.Root):
			return 0, errors.Newf("%s has size %d with root %x, %s %d with %x", first.Node, first.Size, first.Root, st.Node, st.Size, st.Root)
		}
	}
	return first.Size, nil
}

// read reads the leaves of the ledger from one node.
func read(ctx context.Context, api cairnv1.LedgerClient, size uint64) (leaves [][]byte, err error) {
	stream, err := api.Range(ctx, &cairnv1.RangeRequest{Limit: max(size, 1), Consistency: cairnv1.Consistency_CONSISTENCY_LOCAL, MinSize: size})
	if err != nil {
		return nil, err
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		leaves = append(leaves, resp.GetLeaves()...)
	}
	if uint64(len(leaves)) != size {
		return nil, errors.Newf("%d entries, want %d", len(leaves), size)
	}
	return leaves, nil
}

// replay has the model read the ledger.
func (b *Bank) replay(v *Verdict, leaves [][]byte) *settle.Model {
	m := settle.New(b.origin)
	for _, leaf := range leaves {
		if problems := m.Leaf(leaf); len(problems) > 0 {
			v.breaks("the bank's ledger: %v", problems[0])
			break
		}
	}
	if err := m.End(); err != nil {
		v.breaks("the bank's ledger: %v", err)
	}
	if id := m.Overdue(m.Time()); id != "" {
		v.breaks("the reservation %s had ended before the last entry, and is pending", id)
	}
	v.Counts = m.Counts()
	return m
}

// compareAnswers compares what was told with what the ledger holds.
func (b *Bank) compareAnswers(v *Verdict, leaves [][]byte) {
	there := map[string]bool{}
	decisions := make([]*settlement.Decided, len(leaves))
	for i, leaf := range leaves {
		d, err := settlement.ParseLeaf(uint64(i), leaf)
		if err != nil || d.Command == nil {
			continue // a record; the model complains of what is none
		}
		decisions[i] = d
		if pki.ID(d.Entry.Principal).IsNode() {
			continue
		}
		name := nameOf(d.Command.Action)
		if there[name] = true; b.asked[name] == nil {
			v.breaks("nobody asked for entry %d of the bank's ledger, by %s", i, d.Entry.Principal)
		}
	}
	for name, a := range b.asked {
		v.Answers, v.Refused, v.Unknown = v.Answers+len(a.answers), v.Refused+a.refused, v.Unknown+a.unknown
		if there[name] && len(a.answers) == 0 && a.unknown == 0 {
			v.breaks("a command that was refused each of the %d times is in the bank's ledger", a.refused)
		}
		for _, got := range a.answers {
			switch d := at(decisions, got.index); {
			case d == nil:
				v.breaks("a command was acknowledged at %d, where the bank's ledger has none", got.index)
			case bare(d.Command.Action) != a.bare:
				v.breaks("a command was acknowledged at %d, where the bank's ledger has another one", got.index)
			case !slices.Equal(d.Outcome.Results, got.results):
				v.breaks("a command was acknowledged at %d with %v, the bank's ledger has %v", got.index, got.results, d.Outcome.Results)
			}
		}
	}
}

func at(decisions []*settlement.Decided, index uint64) *settlement.Decided {
	if index < uint64(len(decisions)) {
		return decisions[index]
	}
	return nil
}

// compareBalances compares the accounts that the cluster serves with the model.
func (b *Bank) compareBalances(ctx context.Context, v *Verdict, m *settle.Model) error {
	api, err := b.dial(ctx, roles[0])
	if err != nil {
		return err
	}
	defer api.Close()
	want := m.Records()
	err = settleclient.New(api).Accounts(ctx, func(a *settleclient.Account) error {
		if w := want[a.GetId()]; !bytes.Equal(a.GetRecord(), w) {
			v.breaks("the account %s has the record %x, by the ledger it is %x", a.GetId(), a.GetRecord(), w)
		}
		delete(want, a.GetId())
		return nil
	}, settleclient.At{Size: v.Entries}) // a reservation may end at any time
	if err != nil {
		v.breaks("the accounts cannot be listed: %v", err)
	} else if len(want) > 0 {
		v.breaks("%d accounts are not listed", len(want))
	}
	return nil
}
