// Package peers is how a member of a cluster takes blocks and sealed checkpoints from another
// member: the client of the service Replica. Connections are those of package lpa, with the node's
// own identity.
//
// Nothing that comes from here is proved. Records parse and follow each other; whether the ledger
// has them is for the caller to find out: by the proof of their batch under a root that the caller
// knows, or by the caller's own tree. A checkpoint is a note: its signatures are for the caller to
// verify.
package peers

import (
	"context"
	"io"
	"slices"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
)

const (
	// maxMessage bounds one message of a peer, in bytes: one record of the largest size, or a batch of
	// small ones, and a proof.
	maxMessage = ledger.MaxRecordSize + 1<<20
	// window is what a peer may send ahead of the caller, in bytes.
	window = 1 << 20
)

// Client asks one member. It is safe for concurrent use.
type Client struct {
	conn *grpc.ClientConn
	rpc  cairnv1.ReplicaClient
}

// New prepares a Client of the member whose API has the address. It connects when it is first used.
// The credentials are those of the one member that may answer.
func New(address string, creds credentials.TransportCredentials) (*Client, error) {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, errors.Wrapf(err, "connect to %s", address)
	}
	return &Client{conn, cairnv1.NewReplicaClient(conn)}, nil
}

// Close ends all calls.
func (c *Client) Close() error { return c.conn.Close() }

func about(ctx context.Context, origin string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, cairnv1.OriginHeader, origin)
}

// Request says which blocks are wanted.
type Request struct {
	First  uint64 // index of an entry that the first block has appended
	Blocks uint64 // at most so many; 0: as many as there are
	// ProofSize, when not 0, asks for proofs that the blocks belong to the ledger of this size. There
	// are no blocks beyond it.
	ProofSize uint64
}

// Batch are consecutive records, at least one.
type Batch struct {
	Records []*ledger.BlockRecord
	// Proof is the consistency proof from the size after the last record to Request.ProofSize.
	Proof []merkle.Hash
}

// Blocks calls each with the records of a ledger from Request.First on, in order and without a gap.
// It returns nil when the member has sent all that it had, or all that was wanted, and the error of
// each as it is.
func (c *Client) Blocks(ctx context.Context, origin string, r Request, each func(Batch) error) error {
	ctx, cancel := context.WithCancel(about(ctx, origin))
	defer cancel()
	stream, err := c.rpc.Blocks(ctx, &cairnv1.BlocksRequest{First: r.First, Blocks: r.Blocks, ProofSize: r.ProofSize})
	if err != nil {
		return errors.Wrap(err, "ask for blocks")
	}
	next := r.First
	for first := true; ; first = false {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errors.Wrap(err, "receive blocks")
		}
		b, err := parseBatch(resp, next, first)
		if err != nil {
			return errors.Wrapf(err, "blocks from entry %d on", next)
		}
		if err := each(b); err != nil {
			return err
		}
		next = b.Records[len(b.Records)-1].End()
	}
}

func parseBatch(resp *cairnv1.BlocksResponse, next uint64, first bool) (b Batch, err error) {
	if len(resp.Records) == 0 {
		return b, errors.New("a message without a record")
	}
	raft := uint64(0)
	for _, encoded := range resp.Records {
		rec, err := ledger.ParseBlockRecord(encoded)
		if err != nil {
			return b, err
		}
		begins := rec.First == next || first && len(b.Records) == 0 && rec.First <= next && next < rec.End()
		if !begins || rec.RaftIndex <= raft {
			return b, errors.Newf("a record of entries %d to %d at raft index %d, behind raft index %d", rec.First, rec.End(), rec.RaftIndex, raft)
		}
		next, raft = rec.End(), rec.RaftIndex
		b.Records = append(b.Records, rec)
	}
	b.Proof, err = parseHashes(resp.Proof)
	return b, err
}

// Position is how far a member is, in its own words, and its newest sealed checkpoint.
type Position struct {
	RaftIndex, Size uint64
	Note            []byte // nil: it has no sealed checkpoint
	// Proof is the consistency proof between the size that was asked about and that of the note, from
	// the smaller to the larger.
	Proof []merkle.Hash
}

// Sealed asks how far the member is. With a size the answer relates its checkpoint to it; a member
// that has not reached the size refuses.
func (c *Client) Sealed(ctx context.Context, origin string, size uint64) (*Position, error) {
	resp, err := c.rpc.Sealed(about(ctx, origin), &cairnv1.SealedRequest{Size: size})
	if err != nil {
		return nil, errors.Wrap(err, "ask for the sealed checkpoint")
	}
	p := &Position{RaftIndex: resp.RaftIndex, Size: resp.Size}
	if s := resp.Sealed; s != nil {
		p.Note = slices.Clip(s.Note)
		p.Proof, err = parseHashes(s.Consistency)
	}
	return p, err
}

func parseHashes(b []byte) ([]merkle.Hash, error) {
	if len(b)%merkle.HashSize != 0 || len(b) > 128*merkle.HashSize {
		return nil, errors.Newf("a proof of %d bytes", len(b))
	}
	hashes := make([]merkle.Hash, len(b)/merkle.HashSize)
	for i := range hashes {
		hashes[i] = merkle.Hash(b[i*merkle.HashSize:])
	}
	return hashes, nil
}
