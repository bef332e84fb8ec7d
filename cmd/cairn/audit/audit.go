package audit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
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
	// Time is the ledger time of the last entry, in microseconds since the Unix epoch: no later
	// entry has an earlier time. 0 if it is not known.
	Time int64
}

// Options says what to check against and what to call on the way.
type Options struct {
	// Policy must accept the checkpoint, and that of Since: each under the policy of its size.
	Policy tlog.Verifier
	// Since is the head of an earlier audit: the entries before it are not read
	// again, unless the source is one that Save made, but the ledger must begin with
	// exactly them. nil means all.
	Since *Head
	// Patience is how long a source that is smaller than Since may take to reach it.
	Patience time.Duration
	// Leaf, if set, is called with every leaf that was not changed, in order, on one goroutine,
	// after the audit's own checks of the entry. An error becomes a finding. The leaf is valid
	// during the call only.
	Leaf func(index uint64, leaf []byte) error
	// First, if set, is called with the leaf of entry 0, by an audit that resumes an earlier one,
	// too. Whether the leaf is in the ledger is said by the report: it is if nothing is wrong. The
	// leaf is valid during the call only.
	First func(leaf []byte)
	// TookOver, if set, is called with every policy that takes over in the entries which this audit
	// reads, in order. The checkpoint in the entry that ends the hand-over is accepted by the policies
	// which the ledger says for its size; by the new one alone if the audit resumes an earlier one
	// that has read the policy before.
	TookOver func(*ledger.Policy)
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
	// Blames says whose fault it is.
	Blames Blame `json:"blames"`
}

// Blame says whose fault a finding is. Only signatures blame the ledger: whatever a mirror, a disk
// or a node's answer could have damaged on its own is the fault of the copy.
type Blame string

const (
	// BlamesCopy: the source's files are not those that were signed, or nothing shows that they
	// are.
	BlamesCopy Blame = "copy"
	// BlamesLedger: the ledger's keys signed what is wrong.
	BlamesLedger Blame = "ledger"
)

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
	// Time is the ledger time of the last entry, for Head.Time of the next audit.
	Time int64
	// Empty says that the ledger has no entries. Unless there is a Note this is the source's word:
	// nothing is signed before the first entry, so there is nothing to prove.
	Empty bool
	// Behind says that the source's checkpoint is accepted and smaller than Options.Since, and was
	// not signed later. Nothing else was read then. Whether its
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

// BlamesLedger says that a finding is the fault of the ledger itself.
func (r *Report) BlamesLedger() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Blames == BlamesLedger })
}

// errEnough ends an audit early, with a report.
var errEnough = errors.New("too many findings")

// auditor is one audit in progress. It is used by one goroutine.
type auditor struct {
	src    Source
	opts   Options
	report *Report
	tree   *merkle.Tree
	tiles  *tileCache
	copy   *Copy // nil unless everything is kept

	policies policies

	time    int64        // of the newest entry that was checked
	oldRoot *merkle.Hash // of the first Since.Size entries, if it is not Since.Root
	leaves  []int        // findings about the content of entries, by their position in the report
}

// Run audits the ledger that src serves. Its error is ErrOtherLedger if that is not the one of
// Options.Since.
func Run(ctx context.Context, src Source, opts Options) (*Report, error) {
	a := &auditor{src: src, opts: opts, report: &Report{}, tree: merkle.NewTree()}
	a.policies.tookOver = opts.TookOver
	a.copy, _ = src.(*Copy)
	err := a.run(ctx)
	a.report.Time = a.time
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
	if r.Note == nil || r.Behind {
		return nil
	}
	a.tiles = newTileCache(a.src, r.Size)
	if _, ok, err := a.tiles.tile(ctx, 0, 0); r.Size > 0 && (ok || err != nil) {
		r.Tiled = true
	}
	if err := a.resume(ctx); err != nil {
		return err
	}
	a.policies.origin = r.Origin
	if a.opts.Begin != nil {
		a.opts.Begin(r.Size - r.Since)
	}
	if err := a.bundles(ctx); err != nil {
		return err
	}
	if err := a.first(ctx); err != nil {
		return err
	}
	if err := a.rightEdge(ctx); err != nil {
		return err
	}
	return a.conclude()
}

// conclude compares what was read with what was signed, and says who is to blame. If the entries
// have the signed root, the ledger's keys signed whatever is wrong in them. If not, the source has
// other files than those that were signed, and nothing is known about the ledger.
func (a *auditor) conclude() error {
	r, since := a.report, a.opts.Since
	root := a.tree.Root()
	if root != r.Root {
		if !r.OK() {
			return nil // what is named above is why
		}
		earlier := ""
		if a.oldRoot != nil {
			earlier = fmt.Sprintf("; nor have the first %d the root that an earlier audit accepted", since.Size)
		}
		return a.found("checkpoint", nil, "the %d entries give the root %s, the checkpoint is for %s: entries (and tiles) of this source were replaced as a whole%s",
			r.Size, root, r.Root, earlier)
	}
	for _, i := range a.leaves {
		r.Findings[i].Blames = BlamesLedger
	}
	if a.oldRoot != nil {
		return a.signed("the first %d entries have the root %s, an earlier audit accepted %s: history was rewritten, and the ledger's keys signed both",
			since.Size, *a.oldRoot, since.Root)
	}
	return nil
}

// checkpoint reads and judges the source's checkpoint, and again while it is behind that of
// the earlier audit: nodes do not learn of a new checkpoint all at once.
func (a *auditor) checkpoint(ctx context.Context) error {
	r, since := a.report, a.opts.Since
	for deadline := time.Now().Add(a.opts.Patience); ; {
		note, err := a.src.Checkpoint(ctx)
		switch {
		case errors.Is(err, ErrEmpty) && (since == nil || since.Size == 0):
			r.Empty = true
			return nil
		case errors.Is(err, ErrEmpty), errors.Is(err, ErrNotSealed):
			// The source may be a node that has not caught up yet.
			if time.Now().Before(deadline) {
				if err := wait(ctx, behindPoll); err != nil {
					return err
				}
				continue
			}
			if r.Behind = since != nil && since.Size > 0; r.Behind {
				return nil
			}
			return err
		case err != nil:
			return errors.Wrap(err, "read checkpoint")
		}
		verified, err := a.opts.Policy.Verify(note)
		if err != nil {
			return a.stop("checkpoint", "refused, so there is nothing to compare the ledger with: %v", err)
		}
		r.Empty = verified.Size == 0
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
			if err := a.signed("rolled back: it is for size %d and was cosigned after the one for size %d that an earlier audit accepted", r.Size, since.Size); err != nil {
				return err
			}
			return errEnough
		}
		if r.Behind = true; !time.Now().Before(deadline) {
			return nil
		}
		if err := wait(ctx, behindPoll); err != nil {
			return err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
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
// must give the root of then, so the tiles need not be trusted. If they do not,
// everything is read.
func (a *auditor) resume(ctx context.Context) error {
	since := a.opts.Since
	if since == nil || since.Size == 0 || a.report.Behind {
		return nil
	}
	if !a.report.Tiled || a.copy != nil {
		return nil // everything is read again, and the old root compared on the way
	}
	tree, err := merkle.RestoreTree(since.Size, a.tiles.reader(ctx))
	var damaged *tileError
	if err != nil && !errors.As(err, &damaged) {
		return err
	}
	if err != nil || tree.Root() != since.Root {
		return nil // damaged tiles, or another history: reading everything tells which
	}
	a.tree, a.report.Since, a.time = tree, since.Size, since.Time
	return nil
}

// found records a finding that blames the copy; it returns an error when there are enough.
func (a *auditor) found(path string, index *uint64, format string, args ...any) error {
	a.report.Findings = append(a.report.Findings, Finding{Path: path, Index: index, Problem: fmt.Sprintf(format, args...), Blames: BlamesCopy})
	if len(a.report.Findings) >= maxFindings {
		return errEnough
	}
	return nil
}

// signed records a finding about the checkpoint that only the ledger's keys can have brought about.
func (a *auditor) signed(format string, args ...any) error {
	err := a.found("checkpoint", nil, format, args...)
	a.report.Findings[len(a.report.Findings)-1].Blames = BlamesLedger
	return err
}

// stop records a finding after which it makes no sense to go on.
func (a *auditor) stop(path, format string, args ...any) error {
	_ = a.found(path, nil, format, args...)
	return errEnough
}

// entry checks what the hashes do not: that a leaf is an entry, and that the ledger's time never
// decreases, also from the last entry of the earlier audit to the next one.
func (a *auditor) entry(index uint64, leaf []byte) error {
	e, err := ledger.ParseLeaf(leaf)
	if err != nil {
		return err
	}
	before := a.time
	if a.time = e.Time; e.Time < before {
		return errors.Newf("its time %s is before that of the entry before it, %s", timeString(e.Time), timeString(before))
	}
	if index == 0 && a.opts.First != nil {
		a.opts.First(leaf)
	}
	if e.Kind == ledger.KindRecord {
		if err := a.policies.record(index, leaf, e.Body); err != nil {
			return err
		}
	}
	if a.opts.Leaf != nil {
		return a.opts.Leaf(index, leaf)
	}
	return nil
}

// first shows entry 0 to Options.First where an audit that resumes an earlier one has not read it.
func (a *auditor) first(ctx context.Context) error {
	if a.opts.First == nil || a.report.Since == 0 {
		return nil
	}
	width := merkle.WidthAt(0, 0, a.report.Size)
	path := merkle.EntriesPath(0, width)
	bundle, err := a.src.Entries(ctx, 0, width)
	switch {
	case errors.Is(err, ErrMissing):
		return a.found(path, nil, "missing")
	case err != nil:
		return errors.Wrapf(err, "read %s", path)
	}
	leaves, err := merkle.ParseEntryBundle(bundle, width)
	if err != nil {
		return a.found(path, nil, "%v", err)
	}
	var damaged *tileError
	proof, err := merkle.InclusionProof(a.tiles.reader(ctx), 0, a.report.Size)
	switch {
	case errors.As(err, &damaged):
		return a.found(damaged.path, nil, "%s", damaged.problem)
	case err != nil:
		return errors.Wrap(err, "prove entry 0")
	}
	index := uint64(0)
	if err := merkle.VerifyInclusion(index, a.report.Size, merkle.LeafHash(leaves[0]), proof, a.report.Root); err != nil {
		return a.found(path, &index, "entry 0 was changed, or a tile above it: %v", err)
	}
	a.opts.First(leaves[0])
	return nil
}

func timeString(micros int64) string { return time.UnixMicro(micros).UTC().Format(time.RFC3339Nano) }
