package client

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// tracker remembers the newest verified checkpoint and lets no other pass unless it is proved to
// belong to the same history.
type tracker struct {
	c        *Client
	policies policies
	path     string // state file, "" = none

	// turn is held while one checkpoint is judged, network included: the next is judged against its
	// outcome.
	turn chan struct{}
	// unconfirmed says that the policy was derived from that of another ledger, and that the
	// genesis of this one has not been compared with it yet. Owned by whoever holds turn.
	unconfirmed bool

	mu struct {
		sync.Mutex
		last  *Checkpoint // newest; nil if none was seen yet. Its root is in roots.
		roots map[uint64]merkle.Hash
		order []uint64 // sizes in roots, oldest first; bounded
	}

	save     chan struct{} // capacity 1: last is newer than the file
	stop     chan struct{}
	finished chan struct{}
	saveErr  error // of the last write; owned by the writer until finished
}

// rememberedRoots bounds how many sizes with proved roots are kept, so that answers of slower nodes
// need no new proof.
const rememberedRoots = 256

func newTracker(c *Client, policy *tlog.Policy, derived bool, path string) (*tracker, error) {
	t := &tracker{
		c: c, policies: policies{trusted: policy}, unconfirmed: derived, path: path, turn: make(chan struct{}, 1),
		save: make(chan struct{}, 1), stop: make(chan struct{}), finished: make(chan struct{}),
	}
	t.mu.roots = make(map[uint64]merkle.Hash)
	if path != "" && !c.opts.unverified {
		t.policies.path = chainPath(path)
		if err := t.policies.load(); err != nil {
			return nil, err
		}
		cp, err := t.load()
		if err != nil {
			return nil, err
		}
		if cp != nil {
			t.unconfirmed = t.unconfirmed && cp.Size == 0 // whoever wrote the file has compared
			t.remember(cp)
			<-t.save // the file is where it came from
		}
	}
	go t.writer()
	return t, nil
}

// load reads the state file; a missing file is no error.
func (t *tracker) load() (*Checkpoint, error) {
	note, err := readState(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, errors.Wrap(err, "read state file")
	}
	cp, err := t.verify(note)
	if err != nil {
		return nil, errors.Wrapf(err, "state file %s holds no checkpoint that the policy accepts; "+
			"if the policy has changed and you trust the ledger as it is now, remove the file", t.path)
	}
	return cp, nil
}

// verify checks a note by itself: signatures, quorum, origin.
func (t *tracker) verify(note []byte) (*Checkpoint, error) {
	var v *tlog.VerifiedCheckpoint
	var err error
	if t.c.opts.unverified {
		var cp tlog.Checkpoint
		cp, _, err = tlog.ParseCheckpoint(note)
		v = &tlog.VerifiedCheckpoint{Checkpoint: cp}
	} else {
		v, err = t.policies.verifier().Verify(note)
	}
	if err != nil {
		return nil, err
	}
	if v.Origin != t.c.opts.origin {
		return nil, errors.Newf("it is a checkpoint of ledger %q, not of %q", v.Origin, t.c.opts.origin)
	}
	if v.Size == 0 && v.Root != merkle.EmptyRoot() {
		return nil, errors.New("size 0 with a root that is not the empty tree's")
	}
	return &Checkpoint{VerifiedCheckpoint: v, Note: note}, nil
}

// judge verifies a note that node n showed. One that the known policies refuse, or that a key signed
// which none of them has, may be of a later policy: then the chain of policies is fetched first.
func (t *tracker) judge(ctx context.Context, n *node, note []byte) (*Checkpoint, error) {
	cp, err := t.verify(note)
	later := errors.IsAny(err, tlog.ErrQuorum, tlog.ErrNoLogSignature, tlog.ErrUnknownLog) || err == nil && t.policies.strange(note)
	if later && !t.c.opts.unverified {
		further, unknown := t.learn(ctx, n)
		if further {
			cp, err = t.verify(note)
		} else if err != nil && unknown != nil {
			err = errors.Wrapf(err, "no later policy of the ledger was found (%v)", unknown)
		}
	}
	if err != nil {
		return nil, &VerificationError{What: "checkpoint", Node: n.Name, Err: err}
	}
	return cp, nil
}

// newest returns the newest verified checkpoint, nil if there is none.
func (t *tracker) newest() *Checkpoint {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.last
}

func (t *tracker) knownSize() uint64 {
	if last := t.newest(); last != nil {
		return last.Size
	}
	return 0
}

func (t *tracker) remember(cp *Checkpoint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.mu.roots[cp.Size]; !ok {
		t.mu.roots[cp.Size] = cp.Root
		t.mu.order = append(t.mu.order, cp.Size)
		if len(t.mu.order) > rememberedRoots {
			delete(t.mu.roots, t.mu.order[0])
			t.mu.order = t.mu.order[1:]
		}
	}
	if t.mu.last == nil || cp.Size > t.mu.last.Size {
		t.mu.last = cp
		t.mu.roots[cp.Size] = cp.Root
		select {
		case t.save <- struct{}{}:
		default:
		}
	}
}

// accept verifies a checkpoint that node n showed and its consistency with what is known. known is
// the size that was named in the request and from which shown.Consistency starts.
func (t *tracker) accept(ctx context.Context, n *node, shown *cairnv1.SealedCheckpoint, known uint64) (*Checkpoint, error) {
	if shown == nil {
		return nil, &VerificationError{What: "checkpoint", Node: n.Name, Err: errors.New("there is none")}
	}
	if last := t.newest(); last != nil && string(last.Note) == string(shown.Note) {
		return last, nil
	}
	cp, err := t.judge(ctx, n, shown.Note)
	if err != nil {
		return nil, err
	}
	t.c.sawSize(cp.Size)
	if t.c.opts.unverified {
		return cp, nil
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return nil, t.c.ended(ctx, false)
	}
	if err := t.consistent(ctx, n, cp, shown, known); err != nil {
		return nil, err
	}
	if err := t.confirm(ctx, n, cp); err != nil {
		return nil, err
	}
	t.remember(cp)
	return cp, nil
}

// consistent demands that cp and the newest known checkpoint belong to one history.
func (t *tracker) consistent(ctx context.Context, n *node, cp *Checkpoint, shown *cairnv1.SealedCheckpoint, known uint64) error {
	t.mu.Lock()
	last := t.mu.last
	root, judged := t.mu.roots[cp.Size]
	t.mu.Unlock()
	switch {
	case last == nil || last.Size == 0 || cp.Size == 0:
		return nil // everything extends the empty ledger
	case cp.Size == last.Size && cp.Root != last.Root:
		return t.fork(last, cp, "one size, two roots")
	case judged && root == cp.Root:
		return nil
	}
	older, newer := last, cp
	if cp.Size < last.Size {
		older, newer = cp, last
	}
	if known == older.Size && newer == cp {
		proof, err := hashes(shown.Consistency)
		if err == nil && merkle.VerifyConsistency(older.Size, newer.Size, proof, older.Root, newer.Root) == nil {
			return nil
		}
	}
	return t.prove(ctx, n, last, cp, older, newer)
}

// prove asks every node, n first, for a proof that connects two checkpoints.
func (t *tracker) prove(ctx context.Context, n *node, last, cp, older, newer *Checkpoint) error {
	req := &cairnv1.ConsistencyProofRequest{OldSize: older.Size, NewSize: newer.Size}
	var refused, wrong []string
	var away *Error // why n, which ought to have the proof, did not answer
	for _, asked := range t.c.nodes.startingWith(n) {
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		resp, err := asked.ledger.ConsistencyProof(attempt, req)
		cancel()
		if err != nil {
			e := errorFrom(err, asked.Endpoint, true)
			if asked == n && e.passing() {
				away = e
			}
			refused = append(refused, fmt.Sprintf("%s: %v", asked.Name, e.Message))
			continue
		}
		proof, err := hashes(resp.Proof)
		if err == nil {
			err = merkle.VerifyConsistency(older.Size, newer.Size, proof, older.Root, newer.Root)
		}
		if err == nil {
			return nil
		}
		wrong = append(wrong, asked.Name)
	}
	if ctx.Err() != nil && len(wrong) == 0 {
		return t.c.ended(ctx, false)
	}
	if len(wrong) > 0 {
		return t.fork(last, cp, "the proof of "+strings.Join(wrong, ", ")+" does not connect them")
	}
	if away != nil {
		// Not accepted, but nobody is to be accused of anything: the node is gone.
		return &Error{Code: away.Code, Reason: away.Reason, Node: n.Name, cause: away, Message: fmt.Sprintf(
			"the checkpoint of size %d that %s showed could not be checked: %s", cp.Size, n.Name, strings.Join(refused, "; "))}
	}
	return &VerificationError{What: "checkpoint", Node: n.Name, Err: errors.Wrapf(ErrNotProved,
		"size %d, root %s; the known one: size %d, root %s; %s", cp.Size, cp.Root, last.Size, last.Root, strings.Join(refused, "; "))}
}

// startingWith returns all nodes, n first.
func (ns *nodes) startingWith(n *node) []*node {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	all := []*node{n}
	for _, o := range ns.mu.list {
		if o != n {
			all = append(all, o)
		}
	}
	return all
}

// fork saves both checkpoints and returns the error that names them.
func (t *tracker) fork(known, shown *Checkpoint, reason string) error {
	e := &ForkError{
		Known: known.Checkpoint, Shown: shown.Checkpoint, KnownNote: known.Note, ShownNote: shown.Note, Reason: reason,
	}
	if t.path != "" {
		path := fmt.Sprintf("%s.fork-%d-%d-%s", t.path, known.Size, shown.Size, shown.Root.String()[:16])
		body := fmt.Appendf(nil, "FORK of ledger %s: %s\n\n== known\n%s\n== shown\n%s", known.Origin, reason, known.Note, shown.Note)
		if err := wholefile.WriteSync(path, body, 0o600); err != nil {
			t.c.opts.logf("save the evidence of a fork: %v", err)
		} else {
			e.Evidence = path
		}
	}
	t.c.opts.logf("%v", e)
	return e
}

// writer keeps the state file up to date; a burst of checkpoints costs one write.
func (t *tracker) writer() {
	defer close(t.finished)
	for {
		select {
		case <-t.save:
			t.store()
		case <-t.stop:
			select {
			case <-t.save:
				t.store()
			default:
			}
			return
		}
	}
}

func (t *tracker) store() {
	last := t.newest()
	if t.path == "" || t.c.opts.unverified || last == nil {
		return
	}
	// Another process of the same profile may be ahead.
	if note, err := readState(t.path); err == nil {
		if cp, err := t.verify(note); err == nil && cp.Size > last.Size {
			return
		}
	}
	t.saveErr = errors.Wrap(wholefile.WriteSync(t.path, last.Note, 0o600), "write state file")
	if t.saveErr != nil {
		t.c.opts.logf("%v", t.saveErr)
	}
}

func (t *tracker) close() error {
	close(t.stop)
	<-t.finished
	return t.saveErr
}

func readState(path string) ([]byte, error) { return wholefile.Read(path, tlog.MaxNoteSize) }
