package backup

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/peers"
	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

const rootOrigin = "example.org/directory"

// world is a cluster of one node as a backup sees it: ledgers in memory, and two keys that seal them.
type world struct {
	t       testing.TB
	ledgers map[string]*ledger.Ledger
	groups  uint64
	key     *pqcrypto.SigningKey // of the log, and of the only member
}

func newWorld(t testing.TB) *world {
	k, err := pqcrypto.NewSigningKey(pqcrypto.MLDSA44, bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ledgers: map[string]*ledger.Ledger{}, key: k}
	w.begin(rootOrigin, directory.Program{})
	w.seal(rootOrigin)
	return w
}

func (w *world) cosigner(name string) *tlog.Cosigner {
	c, err := tlog.NewCosigner(name, w.key)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) member() *tlog.Cosigner {
	k, err := pqcrypto.NewSigningKey(pqcrypto.MLDSA44, bytes.Repeat([]byte{8}, 32))
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := tlog.NewCosigner("example.org/n1", k)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) begin(origin string, p ledger.Program) *ledger.Genesis {
	name, version := "log", uint32(1)
	if p != nil {
		name, version = p.Name(), p.Version()
	}
	g := &ledger.Genesis{
		FeatureLevel: 1, Origin: origin, Program: name, ProgramVersion: version, LogKeys: []string{w.cosigner(origin).Key().String()}, SealQuorum: 1,
		Members: []ledger.Member{{ID: 1, Name: "n1", Cosigner: w.member().Key().String()}},
	}
	w.groups++
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: w.groups, Origin: origin, Program: p})
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := ledger.EncodeGenesis(g, "creator", 5)
	if err != nil {
		w.t.Fatal(err)
	}
	w.ledgers[origin] = l
	w.apply(origin, raw)
	return g
}

// create makes a ledger, as the directory lists it.
func (w *world) create(origin string) {
	g := w.begin(origin, nil)
	command, err := directory.Create(g)
	if err != nil {
		w.t.Fatal(err)
	}
	w.append(rootOrigin, ledger.Batch{Principal: "creator", Entries: []ledger.NewEntry{{Kind: ledger.KindCommand, Body: command}}})
	w.seal(rootOrigin)
	w.seal(origin)
}

func (w *world) apply(origin string, raw []byte) {
	w.t.Helper()
	l := w.ledgers[origin]
	results, err := l.ApplyMany([]ledger.Committed{{RaftIndex: l.Head().RaftIndex + 1, RaftTerm: 1, Block: raw}})
	if err == nil {
		err = results[0][0].Err
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) append(origin string, b ledger.Batch) {
	w.t.Helper()
	raw, err := ledger.EncodeBlock(w.ledgers[origin].Anchor(), 6, []ledger.Batch{b})
	if err != nil {
		w.t.Fatal(err)
	}
	w.apply(origin, raw)
}

// fill appends n entries in blocks of a few.
func (w *world) fill(origin string, n int) {
	for n > 0 {
		b := ledger.Batch{Principal: "w"}
		for range min(n, 1+rand.IntN(40)) {
			b.Entries = append(b.Entries, ledger.NewEntry{Kind: ledger.KindPayload, Body: fmt.Appendf(nil, "%s %d %d", origin, n, w.ledgers[origin].Head().Size)})
			n--
		}
		w.append(origin, b)
	}
	w.seal(origin)
}

func (w *world) seal(origin string) {
	l := w.ledgers[origin]
	h := l.Head()
	if err := l.SetSealed(&ledger.Sealed{Size: h.Size, Root: h.Root, Note: w.note(origin, h.Size, h.Root)}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) note(origin string, size uint64, root merkle.Hash, keys ...*tlog.Cosigner) []byte {
	if keys == nil {
		keys = []*tlog.Cosigner{w.cosigner(origin), w.member()}
	}
	cp := tlog.Checkpoint{Origin: origin, Size: size, Root: root}
	n := tlog.Note{Text: cp.Text()}
	for _, k := range keys {
		sig, err := k.Cosign(cp, 1_700_000_000)
		if err != nil {
			w.t.Fatal(err)
		}
		n.Signatures = append(n.Signatures, sig)
	}
	return n.Marshal()
}

// trusted is the policy of a ledger, from that of the directory.
func (w *world) trusted(origin string) (*tlog.Policy, error) {
	p, err := tlog.NewPolicy([]*tlog.VerifierKey{w.cosigner(rootOrigin).Key()}, []*tlog.VerifierKey{w.member().Key()}, 1)
	if err != nil {
		return nil, err
	}
	return p.For(origin)
}

func (w *world) options(nodes ...Node) Options {
	if nodes == nil {
		nodes = []Node{w}
	}
	return Options{Cluster: "00000000000000c1", Directory: rootOrigin, Nodes: nodes, Trusted: w.trusted, Now: time.Unix(1_700_000_000, 0)}
}

func (w *world) take(dir string, nodes ...Node) *Result {
	w.t.Helper()
	r, err := Take(w.t.Context(), dir, w.options(nodes...))
	if err != nil {
		w.t.Fatal(err)
	}
	for origin, err := range r.Failed {
		w.t.Fatalf("%s: %v", origin, err)
	}
	return r
}

func (w *world) verify(dir string) error {
	b, err := Open(dir)
	if err != nil {
		return err
	}
	return b.Verify(w.t.Context(), w.trusted, nil)
}

// Sealed implements Node.
func (w *world) Sealed(_ context.Context, origin string, size uint64) (*peers.Position, error) {
	l := w.ledgers[origin]
	s := l.Sealed()
	p := &peers.Position{Size: l.Head().Size, RaftIndex: l.Head().RaftIndex, Note: s.Note}
	var err error
	if size > 0 {
		p.Proof, err = l.ConsistencyProof(min(size, s.Size), max(size, s.Size))
	}
	return p, err
}

// Blocks implements Node.
func (w *world) Blocks(_ context.Context, origin string, r peers.Request, each func(peers.Batch) error) error {
	l := w.ledgers[origin]
	for next := r.First; next < r.ProofSize; {
		var b peers.Batch
		for len(b.Records) < 5 && next < r.ProofSize {
			rec, err := l.BlockAt(next)
			if err != nil {
				return err
			}
			b.Records, next = append(b.Records, rec), rec.End()
		}
		var err error
		if b.Proof, err = l.ConsistencyProof(next, r.ProofSize); err != nil {
			return err
		}
		if err := each(b); err != nil {
			return err
		}
	}
	return nil
}

// files returns what a backup has, by path, without what says when and in which steps it was taken.
func files(t testing.TB, dir string, all bool) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if err != nil || e.IsDir() || !all && (strings.Contains(rel, "blocks") || rel == manifestFile || strings.HasSuffix(rel, checkpointFile) || strings.HasSuffix(rel, chainFile)) {
			return err
		}
		raw, err := os.ReadFile(path)
		found[rel] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// countdown lets n files be written, and no more.
func countdown(n int64, err error) func() error {
	var left atomic.Int64
	left.Store(n)
	return func() error {
		if left.Add(-1) < 0 {
			return err
		}
		return nil
	}
}
