// Package policychain makes and verifies the proof that leads from a policy that a verifier trusts to
// every later policy of a ledger. With it a receipt is verified under the policy of its size.
//
// # The file
//
//	cairn-policy-chain v1
//	sha256 HEX
//	parts N N...
//
//	(receipts, one after the other)
//
// The SHA-256 is that of everything behind the empty line; it tells damage by name, the signatures
// tell everything else. The parts are C2SP receipts (.tlog-proof) of these lengths: first that of the
// genesis, then that of each policy change, in order. Whoever knows nothing of policies can verify
// each of them alone.
//
// # What is proved
//
// Consecutive changes with the same checkpoint are one hand-over: the policy before the first and
// the policy of the last have both signed the checkpoint, which includes all of them. From the size
// on that includes a change, up to the size of the checkpoint of its hand-over, a checkpoint needs
// the signatures that both demand, and behind it those of the new policy alone.
//
// A policy with which the ledger was restored is an end and a beginning. The policy before has not
// signed it, so for who trusts that one the chain ends there, and the checkpoints of the restored ledger
// are refused (ErrRestored). Who trusts the policy of the restored ledger begins with it.
//
// A chain whose end was cut off is a chain: it says nothing about what came later. Under it, later
// receipts are verified under an earlier policy, and are refused unless enough of its keys signed.
package policychain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// MaxSize bounds a chain, in bytes: more than 300 changes of the largest policy.
const MaxSize = 64 << 20

const firstLine = "cairn-policy-chain v1"

// Chain has the receipts that lead from the genesis to the newest policy that was handed over to.
type Chain struct {
	Genesis *tlog.Receipt
	Changes []*tlog.Receipt
}

// A Source has the entries and proofs of a ledger: *ledger.Ledger.
type Source interface {
	Head() ledger.Head
	Leaf(index uint64) ([]byte, error)
	InclusionProof(index, size uint64) ([]merkle.Hash, error)
	PolicyRecords(size uint64) ([]uint64, error)
	Receipt(index uint64) (*tlog.Receipt, error)
}

// Of returns the chain of a ledger. A change whose hand-over has not ended is not part of it.
func Of(l Source) (*Chain, error) {
	records, err := l.PolicyRecords(l.Head().Size)
	if err != nil {
		return nil, errors.Wrap(err, "make the chain of policies")
	}
	c, err := of(l, records)
	return c, errors.Wrap(err, "make the chain of policies")
}

func of(l Source, records []uint64) (*Chain, error) {
	c := &Chain{}
	var changes []*tlog.Receipt // whose hand-over has not ended
	restored := 0               // so many of them end with one that restored the ledger
	for _, index := range records {
		leaf, err := l.Leaf(index)
		if err != nil {
			return nil, err
		}
		if change, err := ledger.PolicyChangeOf(leaf); err == nil {
			changes = append(changes, &tlog.Receipt{Extra: leaf, Index: index})
			if change.Reason == ledger.PolicyRestore {
				restored = len(changes)
			}
			continue
		}
		e, err := ledger.ParseLeaf(leaf)
		if err != nil {
			return nil, err
		}
		h, err := ledger.ParseHandover(e.Body)
		if err != nil {
			return nil, errors.Wrapf(err, "entry %d", index)
		}
		if err := c.add(l, changes, h.Note); err != nil {
			return nil, err
		}
		changes, restored = nil, 0
	}
	if restored > 0 {
		// Nobody hands over to it: the newest checkpoint, by its own keys, shows it.
		r, err := l.Receipt(changes[restored-1].Index)
		if err == nil {
			err = c.add(l, changes[:restored], r.Checkpoint)
		}
		if err != nil && !errors.Is(err, ledger.ErrNotSealed) {
			return nil, err
		}
	}
	if c.Genesis == nil {
		var err error
		if c.Genesis, err = l.Receipt(0); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// add adds the changes that a checkpoint shows, and the genesis before the first ones.
func (c *Chain) add(l Source, changes []*tlog.Receipt, note []byte) error {
	if c.Genesis == nil {
		leaf, err := l.Leaf(0)
		if err != nil {
			return err
		}
		c.Genesis = &tlog.Receipt{Extra: leaf}
		changes = append([]*tlog.Receipt{c.Genesis}, changes...)
	}
	cp, _, err := tlog.ParseCheckpoint(note)
	if err != nil {
		return err
	}
	for _, r := range changes {
		r.Checkpoint = note
		if r.Proof, err = l.InclusionProof(r.Index, cp.Size); err != nil {
			return err
		}
		if r != c.Genesis {
			c.Changes = append(c.Changes, r)
		}
	}
	return nil
}

// Marshal returns the file.
func (c *Chain) Marshal() []byte {
	var body bytes.Buffer
	var parts strings.Builder
	for _, r := range append([]*tlog.Receipt{c.Genesis}, c.Changes...) {
		b := r.Marshal()
		body.Write(b)
		fmt.Fprintf(&parts, " %d", len(b))
	}
	sum := sha256.Sum256(body.Bytes())
	head := fmt.Sprintf("%s\nsha256 %s\nparts%s\n\n", firstLine, hex.EncodeToString(sum[:]), parts.String())
	return append([]byte(head), body.Bytes()...)
}

// Is reports whether a file begins as a chain does.
func Is(b []byte) bool { return bytes.HasPrefix(b, []byte(firstLine+"\n")) }

// Parse parses the file and compares its checksum. It verifies nothing. What it accepts is exactly
// what Marshal returns for the same chain.
func Parse(b []byte) (*Chain, error) {
	c, err := parse(b)
	if err == nil && !bytes.Equal(c.Marshal(), b) {
		err = errors.New("the file is not written as Marshal writes it, or its checksum differs")
	}
	if err != nil {
		return nil, errors.Wrap(err, "parse the chain of policies")
	}
	return c, nil
}

func parse(b []byte) (*Chain, error) {
	if len(b) > MaxSize {
		return nil, errors.Newf("%d bytes, at most %d", len(b), MaxSize)
	}
	head, rest, ok := bytes.Cut(b, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) != 3 || lines[0] != firstLine {
		return nil, errors.Newf("its head is not %q and two lines", firstLine)
	}
	lengths, ok := strings.CutPrefix(lines[2], "parts ")
	if !ok {
		return nil, errors.New("the line parts is missing")
	}
	c := &Chain{}
	for _, length := range strings.Fields(lengths) {
		n, err := strconv.Atoi(length)
		if err != nil || n < 0 || n > len(rest) {
			return nil, errors.Newf("a part of %q bytes: the file is cut off, or the line is damaged", length)
		}
		r, err := tlog.ParseReceipt(rest[:n:n])
		if err != nil {
			return nil, err
		}
		rest = rest[n:]
		if c.Genesis == nil {
			c.Genesis = r
		} else {
			c.Changes = append(c.Changes, r)
		}
	}
	if c.Genesis == nil || len(rest) > 0 {
		return nil, errors.Newf("%d bytes behind the last part", len(rest))
	}
	return c, nil
}
