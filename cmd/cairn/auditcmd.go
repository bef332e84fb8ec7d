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
	Audited    string `json:"audited"`
}

// auditResult is the last object that audit prints.
type auditResult struct {
	OK        bool            `json:"ok"`
	Source    string          `json:"source"`
	Origin    string          `json:"origin,omitempty"`
	Size      uint64          `json:"size"`
	Root      string          `json:"root,omitempty"`
	Since     uint64          `json:"since"`
	Behind    bool            `json:"behind,omitempty"` // smaller than what was audited before
	Entries   uint64          `json:"entries"`
	Bytes     uint64          `json:"bytes"`
	Tiles     uint64          `json:"tiles"`
	Cosigners []cosignerInfo  `json:"cosigners,omitempty"`
	Findings  []audit.Finding `json:"findings"`
	Seconds   float64         `json:"seconds"`
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

The ledger is read from a node's HTTP base URL, from a directory that holds a
copy (C2SP tlog-tiles: checkpoint, tile/...), or without an argument from the
nodes of the profile over gRPC, which serves entries but no tiles.

With --state FILE an audit that found nothing wrong is remembered, and the next
one reads only what is new, and proves that the old part has not changed. A
source that is smaller than what was audited before, as a node may be for a
moment, is waited for, up to --timeout; if it does not get there the code is 6:
nothing is proved against it. If it was signed later all the same, it is 3.

With --save DIRECTORY everything is read, and kept there, in a form that can be
audited again offline. Tiles that the source does not serve are computed.`,
		Example: `  cairn audit http://127.0.0.1:20001 --state audit.json
  cairn audit https://ledger.example/ --save copy/ && cairn audit copy/`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			policy, err := a.policy()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				src, done, err := openSource(args[0])
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

// openSource tells a URL from a directory.
func openSource(arg string) (audit.Source, func(), error) {
	if isURL(arg) {
		hc := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 32}}
		src, err := audit.HTTP(arg, hc)
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

func (a *app) audit(ctx context.Context, name string, src audit.Source, patience time.Duration, policy *tlog.Policy, stateFile, save string) error {
	opts := audit.Options{Policy: policy, Leaf: leafChecker(), Patience: patience}
	prior, err := readAuditState(stateFile)
	if err != nil {
		return err
	}
	if prior != nil {
		root, err := merkle.ParseHash(prior.Root)
		if err != nil {
			return fail(exitUsage, "delete it for a full audit", errors.Wrapf(err, "parse %s", stateFile))
		}
		opts.Since = &audit.Head{Origin: prior.Origin, Size: prior.Size, Root: root, Note: []byte(prior.Checkpoint)}
	}
	if save != "" {
		src = audit.Save(src, save)
	}
	bar := &progress{}
	opts.Begin = func(n uint64) { bar = a.progress(int64(n), "audit") }
	opts.Progress = func(n int) { bar.add(n) }
	start := time.Now()
	report, err := audit.Run(ctx, src, opts)
	bar.done()
	if errors.Is(err, audit.ErrOtherLedger) {
		return fail(exitUsage, "use another --state file for another ledger", errors.Wrap(err, stateFile))
	}
	if err != nil {
		if f := classify(err); f.code == exitFailed {
			return fail(exitUnavailable, "see that the source can be read; an audit can be repeated at any time", errors.Wrapf(err, "audit %s", name))
		}
		return errors.Wrapf(err, "audit %s", name)
	}
	if err := a.printReport(name, report, time.Since(start)); err != nil {
		return err
	}
	if !report.OK() {
		return failf(exitRefused, "do not rely on this copy; audit another node, and compare what they sign", "%s: %s",
			name, plural(len(report.Findings), "finding", "findings"))
	}
	if report.Behind {
		return &failure{code: exitUnavailable, reason: "BEHIND", next: "try again, or audit another node; if it stays behind, ask why",
			err: errors.Newf("%s has %s, %s were audited before: whether it has the same ones shows when it has caught up",
				name, plural(report.Size, "entry", "entries"), count(prior.Size))}
	}
	return writeAuditState(stateFile, report)
}

// leafChecker checks what the hashes do not: that leaves are entries, and that
// the ledger's time never decreases.
func leafChecker() func(uint64, []byte) error {
	last := int64(0)
	return func(_ uint64, leaf []byte) error {
		e, err := ledger.ParseLeaf(leaf)
		if err != nil {
			return err
		}
		if e.Time < last {
			return errors.Newf("its time %s is before that of the entry before it, %s", timeString(e.Time), timeString(last))
		}
		last = e.Time
		return nil
	}
}

func (a *app) printReport(name string, r *audit.Report, took time.Duration) error {
	result := auditResult{
		OK: r.OK() && !r.Behind, Source: name, Origin: r.Origin, Size: r.Size, Since: r.Since, Behind: r.Behind, Entries: r.Entries, Bytes: r.Bytes, Tiles: r.Tiles,
		Cosigners: cosignerInfos(r.Cosigners), Findings: r.Findings, Seconds: took.Seconds(),
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
			return
		}
		var names []string
		for _, c := range r.Cosigners {
			names = append(names, strings.TrimPrefix(c.Name, r.Origin+"/"))
		}
		tiles := count(r.Tiles)
		if !r.Tiled {
			tiles = "- (this source serves none)"
		}
		switch {
		case r.Behind:
			fmt.Fprintf(w, doubtful("BEHIND")+" what was audited before: %s\n", name)
		case r.OK():
			fmt.Fprintf(w, "%s with %s\n", good("nothing wrong"), name)
		}
		pairs := []string{"  ledger", r.Origin, "  size", count(r.Size), "  root", r.Root.String(), "  cosigned", strings.Join(names, ", ")}
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

func writeAuditState(path string, r *audit.Report) error {
	if path == "" {
		return nil
	}
	raw, err := json.MarshalIndent(auditState{
		Origin: r.Origin, Size: r.Size, Root: r.Root.String(), Checkpoint: string(r.Note),
		Audited: time.Now().UTC().Format(time.RFC3339),
	}, "", "  ")
	if err != nil {
		return errors.Wrap(err, "encode audit state")
	}
	return writeFile(path, append(raw, '\n'))
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
