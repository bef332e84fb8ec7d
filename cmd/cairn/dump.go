package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/badgerstore"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/raftnode/wal"
)

const stoppedOnly = "stop the node first: `cairn cluster stop NAME`, or SIGTERM"

func (a *app) inspectCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "inspect", Short: "Look into a stopped node's files", RunE: needsSubcommand}
	cmd.AddCommand(a.inspectVerifyCommand(), a.walCommand(), a.ledgerFilesCommand())
	return cmd
}

func (a *app) walCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "wal", Short: "Look into a stopped node's Raft log", RunE: needsSubcommand}
	cmd.AddCommand(&cobra.Command{
		Use:   "dump DATA_DIR",
		Short: "Print every segment and frame",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return withLog(args[0], func(dir string) error {
				lines := &lineResults{a: a}
				err := wal.Dump(lines, nil, dir)
				if lines.err != nil {
					return lines.err
				}
				return damaged(err)
			})
		},
	}, &cobra.Command{
		Use:   "verify DATA_DIR",
		Short: "Check every frame and that they continue each other",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return withLog(args[0], func(dir string) error {
				r, err := wal.Verify(nil, dir)
				if err != nil {
					return damaged(err)
				}
				return a.printWAL(r)
			})
		},
	})
	return cmd
}

// damaged gives damage the code for refusal.
func damaged(err error) error {
	var corrupt *wal.CorruptionError
	var table *badgerstore.DamagedError
	var entry *ledger.CorruptError
	switch {
	case errors.As(err, &table) && table.Remedy != "":
		return fail(exitRefused, table.Remedy, err)
	case errors.As(err, &corrupt), errors.As(err, &table), errors.As(err, &entry):
		return fail(exitRefused, "leave this node stopped, and do not start it with an empty or older directory: the others go on while they are a majority", err)
	}
	return err
}

// withLog calls f with the directory of the Raft log of a stopped node. It accepts
// the node's data directory or the log's own directory inside it.
func withLog(dir string, f func(logDir string) error) error {
	logDir := filepath.Join(dir, "wal")
	if !isDir(logDir) {
		if logDir = filepath.Clean(dir); !isDir(logDir) {
			return failf(exitNotFound, "DATA_DIR is data_dir in the node's node.yaml", "%s is not a node's data directory", dir)
		}
		dir = filepath.Join(logDir, "..")
	}
	release, err := holdStopped(dir)
	if err != nil {
		return err
	}
	defer release()
	return f(logDir)
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// lineResults makes one result of every line.
type lineResults struct {
	a       *app
	partial []byte
	err     error
}

func (l *lineResults) Write(p []byte) (int, error) {
	l.partial = append(l.partial, p...)
	for {
		i := bytes.IndexByte(l.partial, '\n')
		if i < 0 {
			return len(p), nil
		}
		line := string(l.partial[:i])
		if l.err = l.a.emit(struct {
			Line string `json:"line"`
		}{line}, func(w *page) { fmt.Fprintln(w, line) }); l.err != nil {
			return 0, l.err
		}
		l.partial = l.partial[i+1:]
	}
}

type walGroupResult struct {
	Group    uint64 `json:"group"`
	First    uint64 `json:"first"`
	Last     uint64 `json:"last"`
	LastTerm uint64 `json:"last_term"`
	Term     uint64 `json:"term"`
	Vote     uint64 `json:"vote"`
	Commit   uint64 `json:"commit"`
	Mark     uint64 `json:"mark"` // everything up to here is durable in the ledger
}

func (a *app) printWAL(r wal.Report) error {
	result := struct {
		OK       bool             `json:"ok"`
		Cluster  string           `json:"cluster"`
		Node     uint64           `json:"node"`
		Segments int              `json:"segments"`
		Frames   int              `json:"frames"`
		Entries  int              `json:"entries"`
		Bytes    int64            `json:"bytes"`
		Torn     string           `json:"torn,omitempty"`
		Groups   []walGroupResult `json:"groups"`
	}{true, fmt.Sprintf("%016x", r.Cluster), r.Node, r.Segments, r.Frames, r.Entries, r.Bytes, "", nil}
	if r.Torn != nil {
		result.Torn = r.Torn.String()
	}
	for _, g := range r.Groups {
		result.Groups = append(result.Groups, walGroupResult{g.Group, g.First, g.Last, g.LastTerm, g.Term, g.Vote, g.Commit, g.Mark.Index})
	}
	return a.emit(result, func(w *page) {
		fields(w, good("intact"), fmt.Sprintf("%d segments, %s frames, %s entries, %s", r.Segments, count(r.Frames), count(r.Entries), bytesString(uint64(r.Bytes))),
			"belongs to", fmt.Sprintf("node %d of cluster %s", r.Node, result.Cluster))
		if result.Torn != "" {
			fields(w, "torn tail", result.Torn+" (never synced; the node cuts it)")
		}
		t := newTable("group", "entries", "term", "vote", "commit", "durable in ledger").alignRight(0, 2, 3, 4, 5)
		for _, g := range result.Groups {
			t.row(fmt.Sprint(g.Group), fmt.Sprintf("%d to %d", g.First, g.Last), fmt.Sprint(g.Term), fmt.Sprint(g.Vote), fmt.Sprint(g.Commit), fmt.Sprint(g.Mark))
		}
		t.write(w)
	})
}

// eachLeaf reads leaves in order; the ledger checks each against its tree.
func eachLeaf(l *ledger.Ledger, from, limit uint64, f func(uint64, []byte) error) error {
	end := l.Head().Size
	if limit > 0 && from+limit < end {
		end = from + limit
	}
	for i := from; i < end; {
		leaves, err := l.Leaves(i, int(min(end-i, merkle.EntryBundleWidth)), 4<<20)
		if err != nil {
			return damaged(err)
		}
		for _, leaf := range leaves {
			if err := f(i, leaf); err != nil {
				return err
			}
			i++
		}
	}
	return nil
}

// checkedChunk is how many entries one goroutine of eachChecked takes at a time.
const checkedChunk = 8 * merkle.EntryBundleWidth

// eachChecked reads all entries of a ledger, which checks each against its tree, and for the record
// of its idempotency key. f gets the leaf hashes in order. Every processor reads a chunk.
func eachChecked(l *ledger.Ledger, f func([]merkle.Hash)) error {
	type chunk struct {
		hashes []merkle.Hash
		err    error
	}
	size, readers := l.Head().Size, runtime.GOMAXPROCS(0)
	chunks := make(chan chan chunk, readers) // in order; each is answered once
	quit := make(chan struct{})
	defer close(quit)
	go func() {
		defer close(chunks)
		for from := uint64(0); from < size; from += checkedChunk {
			one := make(chan chunk, 1)
			select {
			case chunks <- one:
			case <-quit:
				return
			}
			go func() {
				hashes, err := checkRange(l, from, min(from+checkedChunk, size))
				one <- chunk{hashes, err}
			}()
		}
	}()
	for one := range chunks {
		c := <-one
		if c.err != nil {
			return c.err
		}
		f(c.hashes)
	}
	return nil
}

// checkRange checks the entries of indexes from (included) to end (excluded).
func checkRange(l *ledger.Ledger, from, end uint64) (hashes []merkle.Hash, err error) {
	for i := from; i < end; {
		leaves, err := l.Leaves(i, int(min(end-i, merkle.EntryBundleWidth)), 4<<20)
		if err != nil {
			return nil, damaged(err)
		}
		hashes = append(hashes, merkle.LeafHashes(leaves)...)
		for _, leaf := range leaves {
			if err := l.CheckKey(i, leaf); err != nil {
				return nil, damaged(err)
			}
			i++
		}
	}
	return hashes, nil
}

func (a *app) verifyLedger(l *ledger.Ledger, at ledger.Summary) error {
	tree, size := merkle.NewTree(), l.Head().Size
	bar := a.progress(int64(size), "verify", "entries")
	err := eachChecked(l, func(hashes []merkle.Hash) {
		tree.Append(hashes)
		bar.add(len(hashes))
	})
	bar.done()
	if err != nil {
		return err
	}
	root := tree.Root()
	if want := at.Root; size > 0 && root != want {
		return damaged(&ledger.CorruptError{What: "root", Index: size, Err: errors.Newf("entries give %s, the mark says %s", root, want)})
	}
	result := struct {
		OK         bool   `json:"ok"`
		Group      uint64 `json:"group"`
		Origin     string `json:"origin"`
		Program    string `json:"program"`
		Size       uint64 `json:"size"`
		Root       string `json:"root"`
		RaftIndex  uint64 `json:"raft_index"`
		SealedSize uint64 `json:"sealed_size"`
	}{true, l.Group(), l.Origin(), l.Program().Name(), size, root.String(), at.RaftIndex, 0}
	if sealed, err := l.SealedBefore(size); err != nil {
		return damaged(err)
	} else if sealed != nil {
		result.SealedSize = sealed.Size
		if have, err := l.RootAt(sealed.Size); err != nil {
			return damaged(err)
		} else if have != sealed.Root {
			return damaged(&ledger.CorruptError{What: "sealed checkpoint", Index: sealed.Size, Err: errors.Newf("it has root %s, the tree %s", sealed.Root, have)})
		}
	}
	return a.emit(result, func(w *page) {
		fields(w, good("intact"), plural(size, "entry", "entries"), "ledger", fmt.Sprintf("%s (group %d, program %s)", printable(result.Origin), result.Group, printable(result.Program)), "root", result.Root,
			"sealed", "size "+fmt.Sprint(result.SealedSize), "durable up to", "Raft index "+fmt.Sprint(at.RaftIndex))
	})
}
