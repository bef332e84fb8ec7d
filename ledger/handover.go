package ledger

import (
	"encoding/binary"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

const (
	recordHandover  = 5
	handoverVersion = 1
)

// Handover is a record that ends the hand-over from one policy to the next. It carries a checkpoint
// that both have sealed and whose tree holds the change.
type Handover struct {
	Epoch uint32 // of the new policy
	Note  []byte // signed note
}

// HandoverBatch returns the batch with which a leader, the principal, ends a hand-over.
func HandoverBatch(principal string, h Handover) (Batch, error) {
	body := append(binary.BigEndian.AppendUint32([]byte{recordHandover, handoverVersion}, h.Epoch), h.Note...)
	if len(body) > MaxBody(principal, 0) {
		return Batch{}, errors.Newf("hand-over: a checkpoint of %d bytes does not fit into an entry", len(h.Note))
	}
	return Batch{Principal: principal, Entries: []NewEntry{{Kind: KindRecord, Body: body}}}, nil
}

func isHandover(body []byte) bool {
	return len(body) >= 2+4 && body[0] == recordHandover && body[1] == handoverVersion
}

// ParseHandover parses the body of a record, and verifies nothing.
func ParseHandover(body []byte) (Handover, error) {
	if !isHandover(body) {
		return Handover{}, errors.Newf("a record of %d bytes that is no hand-over of version %d", len(body), handoverVersion)
	}
	h := Handover{Epoch: binary.BigEndian.Uint32(body[2:]), Note: body[6:]}
	_, _, err := tlog.ParseCheckpoint(h.Note)
	return h, errors.Wrap(err, "hand-over")
}

// ends says why the record does not end the hand-over that is under way: at is the index of the
// change, rootAt gives the ledger's roots up to size.
func (h *Handover) ends(origin string, in *PolicyInForce, size uint64, rootAt func(uint64) (merkle.Hash, error)) (refused, stop error) {
	if in.Before == nil || in.Newest.Epoch != h.Epoch {
		return errors.Newf("hand-over: none to epoch %d is under way", h.Epoch), nil
	}
	cp, _, err := tlog.ParseCheckpoint(h.Note)
	switch {
	case err != nil:
		return errors.Wrap(err, "hand-over"), nil
	case cp.Origin != origin:
		return errors.Newf("hand-over: a checkpoint of %q", cp.Origin), nil
	case cp.Size <= in.Index || cp.Size > size:
		return errors.Newf("hand-over: a checkpoint of size %d, want one that includes the change at %d, and at most %d", cp.Size, in.Index, size), nil
	}
	root, err := rootAt(cp.Size)
	if err != nil {
		return nil, errors.Wrap(err, "hand-over")
	}
	if root != cp.Root {
		return errors.Newf("hand-over: the checkpoint of size %d has another root than this ledger", cp.Size), nil
	}
	return errors.Wrap(in.Verify(origin, h.Note), "hand-over"), nil
}
