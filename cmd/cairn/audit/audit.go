package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// maxFindings is where an audit stops: a ledger that is wrong in so many places
// is wrong everywhere.
const maxFindings = 100

// behindPoll is how often a source that is behind is asked again.
const behindPoll = 200 * time.Millisecond

// ErrOtherLedger says that the source serves another ledger than the earlier audit was about.
var ErrOtherLedger = errors.New("another ledger")

// Head is the checkpoint that an earlier audit has accepted.
type Head struct {
	Origin string
	Size   uint64
	Root   merkle.Hash
	// Note is the checkpoint as it was signed. Without it an older checkpoint cannot be
	// told from one to which the ledger was rolled back.
	Note []byte
}

// Options says what to check against and what to call on the way.
type Options struct {
	// Policy must accept the checkpoint.
	Policy *tlog.Policy
	// Since is the head of an earlier audit: the entries before it are not read
	// again, unless the source is one that Save made, but the ledger must begin with
	// exactly them. nil means all.
	Since *Head
	// Patience is how long a source that is smaller than Since may take to reach it.
	Patience time.Duration
	// Leaf, if set, is called with every leaf, in order, on one goroutine. An
	// error becomes a finding. The leaf is valid during the call only.
	Leaf func(index uint64, leaf []byte) error
	// Begin and Progress, if set, are called with the number of entries to
	// audit and then with how many more are done.
	Begin    func(entries uint64)
	Progress func(entries int)
}

// Finding is one thing that is wrong.
type Finding struct {
	// Path is the file within the log: checkpoint, tile/..., tile/entries/...
	Path string `json:"path"`
	// Index is the entry that is wrong, if one is.
	Index *uint64 `json:"index,omitempty"`
	// Problem says what is wrong.
	Problem string `json:"problem"`
}

func (f Finding) String() string { return f.Path + ": " + f.Problem }

// Report is the result of an audit.
type Report struct {
	Origin    string
	Size      uint64
	Root      merkle.Hash
	Cosigners []tlog.CosignedBy
	// Note is the checkpoint as it was served.
	Note []byte
	// Since is where the audit began; 0 unless it continued an earlier one.
	Since uint64
	// Behind says that the source's checkpoint is accepted and smaller than Options.Since, and was
	// not signed later. Nothing else was read then, unless Save keeps it. Whether its
	// entries are those of Since shows when the source has reached that size.
	Behind bool
	// Entries, Bytes and Tiles are what was read and checked.
	Entries, Bytes, Tiles uint64
	// Tiled says whether the source serves tiles; a node's gRPC does not.
	Tiled    bool
	Findings []Finding
}

// OK says that nothing was found to be wrong.
func (r *Report) OK() bool { return len(r.Findings) == 0 }

// errEnough ends an audit early, with a report.
var errEnough = errors.New("too many findings")

// auditor is one audit in progress. It is used by one goroutine.
type auditor struct {
	src    Source
	opts   Options
	report *Report
	tree   *merkle.Tree
	tiles  *tileCache
	copy   *saver // nil unless everything is kept
}

// Run audits the ledger that src serves. Its error is ErrOtherLedger if that is not the one of
// Options.Since.
func Run(ctx context.Context, src Source, opts Options) (*Report, error) {
	a := &auditor{src: src, opts: opts, report: &Report{}, tree: merkle.NewTree()}
	a.copy, _ = src.(*saver)
	err := a.run(ctx)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return a.report, err
}

func (a *auditor) run(ctx context.Context) error {
	r := a.report
	if err := a.checkpoint(ctx); err != nil {
		return err
	}
	if r.Behind && a.copy == nil {
		return nil
	}
	a.tiles = newTileCache(a.src, r.Size)
	if _, ok, err := a.tiles.tile(ctx, 0, 0); r.Size > 0 && (ok || err != nil) {
		r.Tiled = true
	}
	if err := a.resume(ctx); err != nil {
		return err
	}
	if a.opts.Begin != nil {
		a.opts.Begin(r.Size - r.Since)
	}
	if err := a.bundles(ctx); err != nil {
		return err
	}
	if err := a.rightEdge(ctx); err != nil {
		return err
	}
	if root := a.tree.Root(); root != r.Root && r.OK() {
		return a.found("checkpoint", nil,
			"the %d entries give the root %s, the checkpoint is for %s: entries (and tiles) were replaced as a whole", r.Size, root, r.Root)
	}
	return nil
}

// checkpoint reads and judges the source's checkpoint, and again while it is behind that of
// the earlier audit: nodes do not learn of a new checkpoint all at once.
func (a *auditor) checkpoint(ctx context.Context) error {
	r, since := a.report, a.opts.Since
	for deadline := time.Now().Add(a.opts.Patience); ; {
		note, err := a.src.Checkpoint(ctx)
		if errors.Is(err, ErrMissing) {
			return a.stop("checkpoint", "missing: is this the base of a ledger?")
		}
		if err != nil {
			return errors.Wrap(err, "read checkpoint")
		}
		verified, err := a.opts.Policy.Verify(note)
		if err != nil {
			return a.stop("checkpoint", "refused, so there is nothing to compare the ledger with: %v", err)
		}
		r.Note, r.Origin, r.Size, r.Root, r.Cosigners = note, verified.Origin, verified.Size, verified.Root, verified.Cosigners
		if since != nil && since.Origin != r.Origin {
			return errors.Wrapf(ErrOtherLedger, "the earlier audit was of %s, this is %s", since.Origin, r.Origin)
		}
		if since == nil || r.Size >= since.Size {
			r.Behind = false
			return nil
		}
		if a.rolledBack() {
			r.Behind = false
			return a.stop("checkpoint", "rolled back: it is for size %d and was cosigned after the one for size %d that an earlier audit accepted", r.Size, since.Size)
		}
		if r.Behind = true; !time.Now().Before(deadline) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(behindPoll):
		}
	}
}

// rolledBack says whether everyone who cosigned both checkpoints cosigned the smaller one of the
// source later, by the times that they signed. No replica cosigns a smaller size after a
// larger one, so this is not the checkpoint of a node that is merely behind.
func (a *auditor) rolledBack() bool {
	earlier, err := a.opts.Policy.Verify(a.opts.Since.Note)
	if err != nil {
		return false // no note, or of another policy: nothing to compare with
	}
	at := map[string]time.Time{}
	for _, c := range earlier.Cosigners {
		at[c.Name] = c.Time
	}
	both := false
	for _, c := range a.report.Cosigners {
		if then, ok := at[c.Name]; ok {
			if both = true; !c.Time.After(then) {
				return false
			}
		}
	}
	return both
}

// resume makes the tree of an earlier audit from today's tiles. Their hashes
// must give the root of then, so the tiles need not be trusted.
func (a *auditor) resume(ctx context.Context) error {
	since := a.opts.Since
	if since == nil || since.Size == 0 || a.report.Behind {
		return nil
	}
	if !a.report.Tiled || a.copy != nil {
		return nil // everything is read again, and the old root compared on the way
	}
	tree, err := merkle.RestoreTree(since.Size, a.tiles.reader(ctx))
	if err != nil {
		var damaged *tileError
		if errors.As(err, &damaged) {
			return a.stop(damaged.path, "%s", damaged.problem)
		}
		return err
	}
	if root := tree.Root(); root != since.Root {
		return a.stop("checkpoint",
			"the first %d entries have the root %s, an earlier audit accepted %s: history was rewritten, or tiles are damaged (a full audit tells which)",
			since.Size, root, since.Root)
	}
	a.tree, a.report.Since = tree, since.Size
	return nil
}

// found records a finding; it returns an error when there are enough.
func (a *auditor) found(path string, index *uint64, format string, args ...any) error {
	a.report.Findings = append(a.report.Findings, Finding{Path: path, Index: index, Problem: fmt.Sprintf(format, args...)})
	if len(a.report.Findings) >= maxFindings {
		return errEnough
	}
	return nil
}

// stop records a finding after which it makes no sense to go on.
func (a *auditor) stop(path, format string, args ...any) error {
	_ = a.found(path, nil, format, args...)
	return errEnough
}
