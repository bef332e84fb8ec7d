package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/policychain"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

// rotatedWorld is a ledger whose only member has got another key, in files.
type rotatedWorld struct {
	t             *testing.T
	l             *ledger.Ledger
	log, old, new *tlog.Cosigner
	blocks        uint64
	dir           string
	before, after string // copies: of size 3, sealed by the old key, and of size 8, by the new one
	first, later  string // policies
	chain         string
	oldReceipt    string // of entry 1, in the copy before
	newReceipt    string // of entry 6, in the copy after
}

const rotatedOrigin = "example.org/ledger"

func newRotatedWorld(t *testing.T) *rotatedWorld {
	t.Helper()
	w := &rotatedWorld{t: t, dir: t.TempDir()}
	for name, c := range map[string]**tlog.Cosigner{rotatedOrigin: &w.log, rotatedOrigin + "/n1": &w.old, rotatedOrigin + "/n1 ": &w.new} {
		key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
		check(t, err)
		*c, err = tlog.NewCosigner(strings.TrimSpace(name), key)
		check(t, err)
	}
	var err error
	w.l, err = ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: rotatedOrigin})
	check(t, err)
	g := &ledger.Genesis{FeatureLevel: 1, Origin: rotatedOrigin, Program: "log", ProgramVersion: 1, LogKeys: []string{w.log.Key().String()}, SealQuorum: 1,
		Members: []ledger.Member{{ID: 1, Name: "n1", Cosigner: w.old.Key().String()}}}
	raw, err := ledger.EncodeGenesis(g, "creator", 5)
	check(t, err)
	w.apply(raw)
	w.payloads(2)
	w.before, w.oldReceipt = w.copy("before", w.old), w.receipt("old", 1, w.old)
	c := &ledger.PolicyChange{Policy: *g.Policy0(), Reason: ledger.PolicyRotateCosigner}
	c.Policy.Epoch, c.Policy.Members = 1, slices.Clone(c.Policy.Members)
	c.Policy.Members[0].Cosigner = w.new.Key().String()
	w.append(ledger.PolicyBatch("admin", c))
	w.append(ledger.HandoverBatch("n1", ledger.Handover{Epoch: 1, Note: w.note(4, w.old, w.new)}))
	w.payloads(3)
	w.after, w.newReceipt = w.copy("after", w.new), w.receipt("new", 6, w.new)
	first, err := g.Policy()
	check(t, err)
	later, err := c.Policy.Verifier(rotatedOrigin)
	check(t, err)
	w.first, w.later = w.file("first", first.Marshal()), w.file("later", later.Marshal())
	h := w.l.Head()
	check(t, w.l.SetSealed(&ledger.Sealed{Size: h.Size, Root: h.Root, Note: w.note(h.Size, w.new)}))
	chain, err := policychain.Of(w.l)
	check(t, err)
	w.chain = w.file("chain", chain.Marshal())
	return w
}

func (w *rotatedWorld) file(name string, raw []byte) string {
	path := filepath.Join(w.dir, name)
	check(w.t, os.WriteFile(path, raw, 0o644))
	return path
}

func (w *rotatedWorld) apply(raw []byte) {
	w.t.Helper()
	w.blocks++
	results, err := w.l.ApplyMany([]ledger.Committed{{RaftIndex: w.blocks, RaftTerm: 1, Block: raw}})
	check(w.t, err)
	check(w.t, results[0][0].Err)
}

func (w *rotatedWorld) append(b ledger.Batch, err error) {
	w.t.Helper()
	check(w.t, err)
	raw, err := ledger.EncodeBlock(w.l.Anchor(), 6, []ledger.Batch{b})
	check(w.t, err)
	w.apply(raw)
}

func (w *rotatedWorld) payloads(n int) {
	w.t.Helper()
	for i := range n {
		w.append(ledger.Batch{Principal: "w", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: fmt.Append(nil, i)}}}, nil)
	}
}

func (w *rotatedWorld) note(size uint64, by ...*tlog.Cosigner) []byte {
	w.t.Helper()
	root, err := w.l.RootAt(size)
	check(w.t, err)
	cp := tlog.Checkpoint{Origin: rotatedOrigin, Size: size, Root: root}
	n := tlog.Note{Text: cp.Text()}
	for _, c := range append([]*tlog.Cosigner{w.log}, by...) {
		sig, err := c.Cosign(cp, 1_700_000_000+size)
		check(w.t, err)
		n.Signatures = append(n.Signatures, sig)
	}
	return n.Marshal()
}

// copy writes a copy of the ledger as it is, with a checkpoint by a key.
func (w *rotatedWorld) copy(name string, by *tlog.Cosigner) string {
	w.t.Helper()
	size := int(w.l.Head().Size)
	leaves, err := w.l.Leaves(0, size, 1<<20)
	check(w.t, err)
	var bundle []byte
	for _, l := range leaves {
		bundle = merkle.AppendEntryBundle(bundle, l)
	}
	for path, raw := range map[string][]byte{
		"checkpoint": w.note(uint64(size), by), merkle.EntriesPath(0, size): bundle, merkle.TilePath(0, 0, size): merkle.AppendTile(nil, merkle.LeafHashes(leaves)),
	} {
		path = filepath.Join(w.dir, name, path)
		check(w.t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(w.t, os.WriteFile(path, raw, 0o644))
	}
	return filepath.Join(w.dir, name)
}

func (w *rotatedWorld) receipt(name string, index uint64, by *tlog.Cosigner) string {
	w.t.Helper()
	size := w.l.Head().Size
	leaf, err := w.l.Leaf(index)
	check(w.t, err)
	proof, err := w.l.InclusionProof(index, size)
	check(w.t, err)
	r := tlog.Receipt{Extra: leaf, Index: index, Proof: proof, Checkpoint: w.note(size, by)}
	return w.file(name, r.Marshal())
}

// wants runs a command, and wants its exit code and words of what it says.
func (w *rotatedWorld) wants(what string, code int, words string, args ...string) {
	w.t.Helper()
	got, out, errs := runs(w.t, args...)
	if got != code || !strings.Contains(out+errs, words) {
		w.t.Errorf("%s: exit code %d, want %d and %q\n%s%s", what, got, code, words, out, errs)
	}
}

// TestVerifyAcrossAChange: with the chain of policies receipts from before and behind a change of
// keys are verified, each under the policy of its size. Without it a policy refuses what later keys
// sign and says what to do.
func TestVerifyAcrossAChange(t *testing.T) {
	t.Parallel()
	w := newRotatedWorld(t)
	chain := []string{"--chain", w.chain}
	w.wants("the old receipt under the chain", exitOK, `"policy_epoch":0`, append(chain, "verify", w.oldReceipt, "--policy", w.first, "--output", "json")...)
	w.wants("the new receipt under the chain", exitOK, `"policy_epoch":1`, append(chain, "verify", w.newReceipt, "--policy", w.first, "--output", "json")...)
	w.wants("the new receipt, the later policy trusted", exitOK, `"policy_epoch":1`, append(chain, "verify", w.newReceipt, "--policy", w.later, "--output", "json")...)
	w.wants("the old receipt, the later policy trusted", exitRefused, "older than the trusted policy", append(chain, "verify", w.oldReceipt, "--policy", w.later)...)
	w.wants("the old receipt under its policy", exitOK, "verified", "verify", w.oldReceipt, "--policy", w.first)
	w.wants("the new receipt under a stale policy", exitRefused, "`cairn policy chain -o FILE`", "verify", w.newReceipt, "--policy", w.first)
	w.wants("its keys are named", exitRefused, fmt.Sprintf("%s/n1+%08x", rotatedOrigin, w.new.Key().KeyID()), "verify", w.newReceipt, "--policy", w.first)
	w.wants("an old key behind the change", exitRefused, "size 8, under the policy of epoch 1", append(chain, "verify", w.receipt("stolen", 6, w.old), "--policy", w.first)...)
	w.wants("the policies of the chain", exitOK, "epoch 1  sizes from 4, sealed by 1 of 1", append(chain, "policy", "show", "--policy", w.first)...)
	raw, err := os.ReadFile(w.chain)
	check(t, err)
	raw[bytes.Index(raw, []byte("\n\n"))+100] ^= 1
	w.wants("a tampered chain", exitRefused, "tampered", "verify", w.oldReceipt, "--policy", w.first, "--chain", w.file("tampered", raw))
}

// TestAuditAcrossAChange: an audit that crosses a change of keys judges each checkpoint under the
// policy of its size. With the first policy alone it says that another one has taken over, even if
// the old key sealed the checkpoint.
func TestAuditAcrossAChange(t *testing.T) {
	t.Parallel()
	w := newRotatedWorld(t)
	state := filepath.Join(w.dir, "state.json")
	withChain := []string{"--policy", w.first, "--chain", w.chain}
	w.wants("before the change", exitOK, "nothing wrong", append(withChain, "audit", w.before, "--state", state)...)
	w.wants("across it", exitOK, "since", append(withChain, "audit", w.after, "--state", state)...)
	w.wants("at once", exitOK, "nothing wrong", append(withChain, "audit", w.after)...)
	w.wants("a copy from before the change, saved now", exitOK, "nothing wrong", append(withChain, "audit", w.before, "--save", filepath.Join(w.dir, "saved"))...)
	w.wants("and continued", exitOK, "nothing wrong", append(withChain, "audit", w.after, "--save", filepath.Join(w.dir, "saved"))...)
	w.wants("the later policy alone", exitOK, "nothing wrong", "audit", w.after, "--policy", w.later)
	w.wants("the first policy alone", exitRefused, "pass it with --chain", "audit", w.after, "--policy", w.first)
	w.wants("the first policy alone, and a checkpoint by its key", exitRefused, "the ledger's policy of epoch 1 has taken over", "audit", w.copy("stolen", w.old), "--policy", w.first)
	w.wants("a checkpoint by the old key, with the chain", exitRefused, "under the policy of epoch 1", append(withChain, "audit", filepath.Join(w.dir, "stolen"))...)
}
