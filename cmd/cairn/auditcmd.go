package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cmd/cairn/audit"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// auditState is what an audit keeps for the next one.
type auditState struct {
	Origin     string `json:"origin"`
	Size       uint64 `json:"size"`
	Root       string `json:"root"`
	Checkpoint string `json:"checkpoint"` // the signed note
	Time       int64  `json:"time"`       // ledger time of the last entry, microseconds since the Unix epoch
	Audited    string `json:"audited"`
}

// auditResult is the last object that audit prints.
type auditResult struct {
	OK        bool           `json:"ok"`
	Source    string         `json:"source"`
	Origin    string         `json:"origin,omitempty"`
	Size      uint64         `json:"size"`
	Root      string         `json:"root,omitempty"`
	Since     uint64         `json:"since"`
	Behind    bool           `json:"behind,omitempty"` // smaller than what was audited before
	Empty     bool           `json:"empty,omitempty"`  // no entries yet
	Entries   uint64         `json:"entries"`
	Bytes     uint64         `json:"bytes"`
	Tiles     uint64         `json:"tiles"`
	Cosigners []cosignerInfo `json:"cosigners,omitempty"`
	derivation
	Findings []audit.Finding `json:"findings"`
	Seconds  float64         `json:"seconds"`
}

func (a *app) auditCommand() *cobra.Command {
	var stateFile, save string
	cmd := &cobra.Command{
		Use:   "audit [URL | DIRECTORY]",
		Short: "Verify the whole ledger: every entry, every tile, the checkpoint",
		Long: `Verify a whole ledger: that the policy accepts its checkpoint, that every entry
is well-formed and time never runs backwards, that the entries hash to the
checkpoint's root, and that every tile holds the right hashes. What is wrong is
named by file, position and entry. Exits with 3 if anything is.

The ledger is read from its HTTP base URL, which is a node's address and the
ledger's origin, from a directory that holds a copy (C2SP tlog-tiles:
checkpoint, tile/...), or without an argument from the nodes of the profile over
gRPC, which serves entries but no tiles. A server that is busy is waited for as
it asks (Retry-After), up to --timeout for each file.

Each finding says whom it blames: the copy, whose files are not those that were
signed, or the ledger, whose keys signed what is wrong. A ledger without entries
is in order: the code is 0, and nothing is proved, since nothing is signed yet.
A source without a checkpoint that does not say so either is no ledger: 4.

With --state FILE an audit that found nothing wrong is remembered, and the next
one reads only what is new, and proves that the old part has not changed. A
source that is smaller than what was audited before, as a node may be for a
moment, is waited for, up to --timeout; if it does not get there the code is 6:
nothing is proved against it. If it was signed later all the same, it is 3.

Where keys or members of the ledger have changed, --chain FILE has the policies
of all sizes (see cairn policy chain), and without an argument the nodes are
asked for them. An audit that meets a policy it was not given ends with 3.

Where --ledger or CAIRN_LEDGER names another ledger than the policy file, the
policy is derived from the file and compared with the ledger's genesis, entry 0:
an audit with a policy that demands other keys or another quorum ends with 3.

With --save DIRECTORY everything is read, and kept there, in a form that can be
audited again offline. Tiles that the source does not serve are computed. The
directory is new, or holds an older copy of the ledger: that one stays as it is
until the source has been found to be right, and to continue it.`,
		Example: `  cairn audit http://127.0.0.1:20001/example.org/ledger --state a.json
  cairn audit https://ledger.example/ --save copy/ && cairn audit copy/`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			policy, err := a.policy()
			if err != nil {
				return err
			}
			if stateFile == "-" || save == "-" {
				return usagef("--state takes a file and --save a directory, not standard output")
			}
			if len(args) == 1 {
				if sameFile(args[0], save) {
					return usagef("--save %s is the source itself", printable(save))
				}
				src, done, err := openSource(args[0], a.timeout)
				if err != nil {
					return err
				}
				defer done()
				patience := a.timeout
				if !isURL(args[0]) {
					patience = 0 // a copy does not grow
				}
				return a.audit(cmd.Context(), args[0], src, patience, policy, stateFile, save)
			}
			return a.withClientContext(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				if policy.chain == nil {
					asking, cancel := context.WithTimeout(ctx, a.timeout)
					known, _, err := c.Policies(asking)
					cancel()
					var called *client.Error
					if err != nil && !(errors.As(err, &called) && called.Reason == client.ReasonNotSealed) {
						return errors.Wrap(err, "get the chain of policies")
					}
					policy.chain, policy.confirmed = known, known != nil
				}
				return a.audit(ctx, "profile "+a.profilePath, &nodeSource{c: c, timeout: a.timeout}, a.timeout, policy, stateFile, save)
			})
		},
	}
	cmd.Flags().StringVar(&stateFile, "state", "", "remember the audited checkpoint in this `file`, and go on from it")
	cmd.Flags().StringVar(&save, "save", "", "keep a copy of everything in this `directory`")
	return cmd
}

func isURL(arg string) bool {
	return strings.HasPrefix(arg, "http://") || strings.HasPrefix(arg, "https://")
}

// openSource tells a URL from a directory. patience is how long an HTTP server may take for one
// file without progress.
func openSource(arg string, patience time.Duration) (audit.Source, func(), error) {
	if isURL(arg) {
		hc := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 32}}
		src, err := audit.HTTP(arg, hc, patience)
		if err != nil {
			return nil, nil, fail(exitUsage, "", err)
		}
		return src, hc.CloseIdleConnections, nil
	}
	st, err := os.Stat(arg)
	if err != nil {
		return nil, nil, failf(exitNotFound, "an http:// URL or a directory with a copy of the ledger", "%s: %v", arg, err)
	}
	if !st.IsDir() {
		return nil, nil, usagef("%s is a file: audit takes a URL or a directory; a receipt is for `cairn verify`", arg)
	}
	return audit.Dir(arg), func() {}, nil
}

func (a *app) audit(ctx context.Context, name string, src audit.Source, patience time.Duration, policy *verifier, stateFile, save string) (err error) {
	opts := audit.Options{Policy: policy, Patience: patience}
	var unlike error // the genesis says something else than a derived policy
	if policy.from != "" && policy.chain == nil {
		opts.First = func(leaf []byte) { unlike = policy.confirm(leaf) }
	}
	var newest *ledger.Policy // that has taken over, in what is audited
	opts.TookOver = func(p *ledger.Policy) { newest = p }
	prior, err := readAuditState(stateFile)
	if err != nil {
		return err
	}
	if prior != nil {
		root, err := merkle.ParseHash(prior.Root)
		if err != nil {
			return fail(exitUsage, "delete it for a full audit", errors.Wrapf(err, "parse %s", stateFile))
		}
		opts.Since = &audit.Head{Origin: prior.Origin, Size: prior.Size, Root: root, Note: []byte(prior.Checkpoint), Time: prior.Time}
	}
	var state *target
	if stateFile != "" {
		if state, err = a.openTarget("--state", stateFile, true); err != nil {
			return err
		}
	}
	var kept *audit.Copy
	if save != "" {
		if kept, err = openCopy(src, save, policy); err != nil {
			return err
		}
		defer func() { err = errors.CombineErrors(err, kept.Close()) }()
		src = kept
		if old := kept.Head(); old != nil && (opts.Since == nil || old.Size > opts.Since.Size) {
			opts.Since = old
		}
	}
	bar := &progress{}
	opts.Begin = func(n uint64) { bar = a.progress(int64(n), "audit", "entries") }
	opts.Progress = func(n int) { bar.add(n) }
	start := time.Now()
	report, err := audit.Run(ctx, src, opts)
	bar.done()
	if errors.Is(err, audit.ErrOtherLedger) {
		what := stateFile
		if prior == nil {
			what = save
		}
		return fail(exitUsage, "use another --state file and another --save directory for another ledger", errors.Wrap(err, what))
	}
	switch {
	case errors.Is(err, audit.ErrNotSaved):
		return failf(exitFailed, "see that the directory of --save can be written and has room; an audit can be repeated at any time", "%v", err)
	case errors.Is(err, audit.ErrMissing):
		return failf(exitNotFound, "give the base URL of a ledger, or a directory that `cairn audit --save` made", "%s has no checkpoint: there is no ledger", name)
	case errors.Is(err, audit.ErrNotSealed):
		return failf(exitUnavailable, "try again in a moment; `cairn status` shows how far the ledger is sealed", "%s: %v", name, err)
	case err != nil:
		if f := classify(err); f.code == exitFailed {
			return fail(exitUnavailable, "see that the source can be read; an audit can be repeated at any time", errors.Wrapf(err, "audit %s", name))
		}
		return errors.Wrapf(err, "audit %s", name)
	}
	if report.OK() && newest != nil && !policy.knows(report.Origin, newest) {
		unlike = fail(exitRefused, chainNext, errors.Newf("the ledger's policy of epoch %d has taken over, and the policy that was given is another one: "+
			"what is signed now was judged by keys that may have been replaced", newest.Epoch))
	}
	if !report.OK() || report.Note == nil || report.Behind {
		policy.confirmed, unlike = false, nil // nothing shows that it is the ledger's genesis
	}
	if err := a.printReport(name, policy, report, unlike, time.Since(start)); err != nil {
		return err
	}
	if unlike != nil {
		return errors.Wrap(unlike, name)
	}
	if n := plural(len(report.Findings), "finding", "findings"); report.BlamesLedger() {
		return &failure{code: exitRefused, reason: "LEDGER_AT_FAULT",
			next: "keep the evidence, which is what this source serves, and the files of --state and --save: the ledger's own keys signed what is wrong; ask who holds them, and whether a member was restored from an older copy",
			err:  errors.Newf("%s: %s, and what the ledger signed is at fault", name, n)}
	} else if !report.OK() && policy.stale {
		return failf(exitRefused, chainNext, "%s: its checkpoint is refused, and signed by keys that the policy does not have", name)
	} else if !report.OK() {
		return failf(exitRefused, "do not rely on this copy; audit another source of the ledger: this says nothing about the ledger itself",
			"%s: %s in this copy", name, n)
	}
	if report.Behind {
		return &failure{code: exitUnavailable, reason: "BEHIND", next: "try again, or audit another node; if it stays behind, ask why",
			err: errors.Newf("%s has %s, %s were audited before: whether it has the same ones shows when it has caught up",
				name, plural(report.Size, "entry", "entries"), count(opts.Since.Size))}
	}
	a.did(effect{text: "nothing is wrong with " + printable(name), next: "see that the file can be written; an audit can be repeated at any time"})
	if kept != nil && report.Note != nil {
		if err := kept.Commit(ctx, report); err != nil {
			return copyError(err)
		}
	}
	return writeAuditState(state, stateFile, report)
}

// openCopy prepares to keep a copy in a directory.
func openCopy(src audit.Source, dir string, policy tlog.Verifier) (*audit.Copy, error) {
	c, err := audit.Save(src, dir, policy)
	if errors.Is(err, audit.ErrNotCopy) {
		return nil, fail(exitUsage, "choose another directory with --save; nothing was changed", err)
	}
	if err != nil {
		return nil, fail(exitUsage, "choose another directory with --save; nothing was tried", err)
	}
	return c, nil
}

// copyError gives the error of a Commit its exit code. The copy that was there stays as it was.
func copyError(err error) error {
	switch {
	case errors.Is(err, audit.ErrOtherLedger):
		return fail(exitUsage, "use another --save directory for another ledger", err)
	case errors.Is(err, audit.ErrNotCopy):
		return fail(exitRefused, "keep both: the copy stays as it was; save the other one elsewhere", err)
	}
	return lost(err, "save the copy")
}

// sameFile says whether two paths name one file.
func sameFile(a, b string) bool {
	sa, err := os.Stat(a)
	if err != nil {
		return false
	}
	sb, err := os.Stat(b)
	return err == nil && os.SameFile(sa, sb)
}

func (a *app) printReport(name string, policy *verifier, r *audit.Report, unlike error, took time.Duration) error {
	result := auditResult{
		OK: r.OK() && !r.Behind && unlike == nil, Source: name, Origin: r.Origin, Size: r.Size, Since: r.Since, Behind: r.Behind, Empty: r.Empty, Entries: r.Entries, Bytes: r.Bytes, Tiles: r.Tiles,
		Cosigners: cosignerInfos(r.Cosigners), derivation: policy.derivation(), Findings: r.Findings, Seconds: took.Seconds(),
	}
	if result.Findings == nil {
		result.Findings = []audit.Finding{}
	}
	if r.Note != nil {
		result.Root = r.Root.String()
	}
	return a.emit(result, func(w *page) {
		for _, f := range r.Findings {
			w.hang(bad("WRONG")+"  ", f.String())
		}
		if r.Note == nil {
			switch {
			case r.Behind:
				fmt.Fprintf(w, "%s what was audited before: %s says that its ledger is empty\n", doubtful("BEHIND"), name)
			case r.Empty:
				fmt.Fprintf(w, "empty: %s says that its ledger has no entries yet; nothing is signed, so nothing is proved\n", name)
			}
			return
		}
		of, _ := policy.at(r.Size)
		tiles := count(r.Tiles)
		if !r.Tiled {
			tiles = "- (this source serves none)"
		}
		switch {
		case r.Behind:
			fmt.Fprintf(w, doubtful("BEHIND")+" what was audited before: %s\n", name)
		case unlike != nil:
			w.hang(bad("REFUSED")+"  ", unlike.Error())
		case r.OK():
			fmt.Fprintf(w, "%s with %s\n", good("nothing wrong"), name)
		}
		pairs := []string{"  ledger", r.Origin, "  size", count(r.Size), "  root", r.Root.String()}
		pairs = append(pairs, cosignedFields(newQuorumInfo(of, r.Cosigners), r.Origin, result.Cosigners)...)
		pairs = append(pairs, result.derivation.pairs("")...)
		if r.Since > 0 {
			pairs = append(pairs, "  since", count(r.Since)+" (audited before, unchanged)")
		}
		fields(w, append(pairs, "  entries", count(r.Entries)+", "+bytesString(r.Bytes), "  tiles", tiles, "  took", latencyString(took))...)
	})
}

func readAuditState(path string) (*auditState, error) {
	if path == "" {
		return nil, nil
	}
	raw, err := readFile(path, 1<<20)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, errors.Wrap(err, "read audit state")
	}
	var s auditState
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fail(exitUsage, "delete it for a full audit", errors.Wrapf(err, "parse %s", path))
	}
	return &s, nil
}

// writeAuditState remembers what was audited. Another audit may have come further meanwhile: an
// older checkpoint never replaces a newer one.
func writeAuditState(file *target, path string, r *audit.Report) error {
	if file == nil || r.Note == nil {
		return nil
	}
	if now, err := readAuditState(path); err != nil || now != nil && now.Origin == r.Origin && now.Size > r.Size {
		return err
	}
	raw, err := json.MarshalIndent(auditState{
		Origin: r.Origin, Size: r.Size, Root: r.Root.String(), Checkpoint: string(r.Note), Time: r.Time,
		Audited: time.Now().UTC().Format(time.RFC3339),
	}, "", "  ")
	if err != nil {
		return errors.Wrap(err, "encode audit state")
	}
	return file.write(append(raw, '\n'))
}

// nodeSource reads a ledger over gRPC.
type nodeSource struct {
	c       *client.Client
	timeout time.Duration
}

func (s *nodeSource) Checkpoint(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	cp, err := s.c.Checkpoint(ctx)
	var called *client.Error
	if errors.As(err, &called) && called.Reason == client.ReasonNotSealed {
		// The node that answered may lag; the size is that of the whole ledger.
		head, headErr := s.c.Head(ctx)
		switch {
		case headErr != nil:
			return nil, headErr
		case head.Size == 0:
			return nil, audit.ErrEmpty
		}
		return nil, audit.ErrNotSealed
	}
	if err != nil {
		return nil, err
	}
	return cp.Note, nil
}

func (s *nodeSource) Tile(context.Context, uint8, uint64, int) ([]byte, bool, error) {
	return nil, false, nil
}

func (s *nodeSource) Entries(ctx context.Context, index uint64, width int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var bundle []byte
	_, err := s.c.Range(ctx, index*merkle.EntryBundleWidth, uint64(width), func(e client.StoredEntry) error {
		bundle = merkle.AppendEntryBundle(bundle, e.Leaf)
		return nil
	}, client.Local())
	return bundle, err
}
