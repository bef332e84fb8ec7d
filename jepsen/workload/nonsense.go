package workload

import (
	"bytes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
)

// nonsense asks what makes no sense, and for proofs between arbitrary sizes. What
// is refused must be refused definitely, what is proved must be proved, and
// nothing may have an effect. No history holds these questions.
func (c *cl) nonsense() {
	ctx, cancel := c.timeout()
	defer cancel()
	c.w.counts.Asked.Add(1)
	asked := c.w.now()
	api := c.conn().Ledger
	a, b := c.index(), c.index()
	var err error
	switch c.rng.IntN(8) {
	case 0, 1:
		var p *cairnv1.InclusionProofResponse
		if p, err = api.InclusionProof(ctx, &cairnv1.InclusionProofRequest{Index: a, Size: b}); err == nil {
			c.inclusion(a, b, p)
		}
	case 2, 3:
		var p *cairnv1.ConsistencyProofResponse
		if p, err = api.ConsistencyProof(ctx, &cairnv1.ConsistencyProofRequest{OldSize: a, NewSize: b}); err == nil {
			c.consistency(a, b, p)
		}
	case 4:
		err = c.mustRefuse("an empty batch", func() error {
			_, err := api.Append(ctx, &cairnv1.AppendRequest{})
			return err
		})
	case 5:
		key := bytes.Repeat([]byte{'k'}, ledger.MaxKeySize+1+c.rng.IntN(1000))
		err = c.mustRefuse("a key that is too long", func() error {
			_, err := api.Append(ctx, &cairnv1.AppendRequest{Entries: []*cairnv1.NewEntry{{Key: key, Payload: []byte("never")}}})
			return err
		})
	case 6:
		err = c.mustRefuse("a payload that is too large", func() error {
			_, err := api.Append(ctx, &cairnv1.AppendRequest{Entries: []*cairnv1.NewEntry{{Payload: make([]byte, merkle.MaxEntrySize+1)}}})
			return err
		})
	case 7:
		err = c.mustRefuse("a kind of consistency that does not exist", func() error {
			_, err := api.Head(ctx, &cairnv1.HeadRequest{Consistency: 77})
			return err
		})
	}
	if err != nil {
		c.w.blame(c.node, asked, understand(err, true))
	}
}

// mustRefuse demands a definite refusal, of nodes that answer at all.
func (c *cl) mustRefuse(what string, call func() error) error {
	err := call()
	if err == nil {
		c.w.violate("wrong-answer", 0, "%s was accepted", what)
		return nil
	}
	if r := understand(err, true); r.word != "" && r.outcome != history.Fail {
		c.w.violate("wrong-answer", 0, "%s was refused, but not definitely: %v", what, err)
	}
	return err
}

func (c *cl) inclusion(index, size uint64, p *cairnv1.InclusionProofResponse) {
	if p.Index != index || size != 0 && p.Size != size || len(p.LeafHash) != merkle.HashSize || len(p.Root) != merkle.HashSize {
		c.w.violate("wrong-answer", index, "asked for the inclusion of %d in %d, got that of %d in %d", index, size, p.Index, p.Size)
		return
	}
	proof, ok := hashes(p.Proof)
	if !ok || merkle.VerifyInclusion(index, p.Size, merkle.Hash(p.LeafHash), proof, merkle.Hash(p.Root)) != nil {
		c.w.violate("wrong-answer", index, "the proof that entry %d is in a ledger of size %d does not hold", index, p.Size)
		return
	}
	c.w.counts.Inclusions.Add(1)
	c.w.Proof.root(c.w, p.Size, p.Root)
}

func (c *cl) consistency(oldSize, newSize uint64, p *cairnv1.ConsistencyProofResponse) {
	if p.OldSize != oldSize || newSize != 0 && p.NewSize != newSize || len(p.OldRoot) != merkle.HashSize || len(p.NewRoot) != merkle.HashSize {
		c.w.violate("wrong-answer", oldSize, "asked for a proof from %d to %d, got one from %d to %d", oldSize, newSize, p.OldSize, p.NewSize)
		return
	}
	proof, ok := hashes(p.Proof)
	if !ok || merkle.VerifyConsistency(oldSize, p.NewSize, proof, merkle.Hash(p.OldRoot), merkle.Hash(p.NewRoot)) != nil {
		c.w.violate("wrong-answer", oldSize, "the proof that size %d is a prefix of size %d does not hold", oldSize, p.NewSize)
		return
	}
	c.w.counts.Consistencies.Add(1)
	c.w.Proof.root(c.w, p.OldSize, p.OldRoot)
	c.w.Proof.root(c.w, p.NewSize, p.NewRoot)
}

func hashes(proof []byte) (out []merkle.Hash, ok bool) {
	if len(proof)%merkle.HashSize != 0 {
		return nil, false
	}
	for ; len(proof) > 0; proof = proof[merkle.HashSize:] {
		out = append(out, merkle.Hash(proof[:merkle.HashSize]))
	}
	return out, true
}
