package tlog_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	xtlog "golang.org/x/mod/sumdb/tlog"

	"github.com/cairnledger/cairn/merkle/tlog"
)

// torchwoodPolicy demands the log's line and those of k nodes.
func torchwoodPolicy(t testing.TB, l *ledger, k int) torchwood.Policy {
	t.Helper()
	single := func(c *tlog.Cosigner) torchwood.Policy {
		v, err := torchwood.NewCosignatureVerifier(c.Key().String())
		if err != nil {
			t.Fatal(err)
		}
		return torchwood.SingleVerifierPolicy(v)
	}
	var nodes []torchwood.Policy
	for _, c := range l.nodes {
		nodes = append(nodes, single(c))
	}
	return torchwood.ThresholdPolicy(3, torchwood.OriginPolicy(origin), single(l.log), torchwood.ThresholdPolicy(k, nodes...))
}

// ourPolicy demands the same.
func ourPolicy(t testing.TB, l *ledger, k int) *tlog.Policy {
	t.Helper()
	var nodes []*tlog.VerifierKey
	for _, c := range l.nodes {
		nodes = append(nodes, c.Key())
	}
	p, err := tlog.NewPolicy([]*tlog.VerifierKey{l.log.Key()}, nodes, k)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestTorchwoodThresholds: torchwood and we agree about every threshold and
// every number of cosignatures.
func TestTorchwoodThresholds(t *testing.T) {
	l := newLedger(t, 300)
	for signers := range 4 {
		signed := l.note(t, signers)
		for k := 1; k <= 3; k++ {
			cp, _, err := torchwood.VerifyCheckpoint(signed, torchwoodPolicy(t, l, k))
			if (err == nil) != (signers >= k) {
				t.Errorf("torchwood, %d of 3 with %d cosignatures: %v", k, signers, err)
			}
			if err == nil && (cp.Origin != origin || cp.N != 300 || cp.Hash != xtlog.Hash(l.tree.Root())) {
				t.Errorf("torchwood verified %+v", cp)
			}
			if _, err := ourPolicy(t, l, k).Verify(signed); (err == nil) != (signers >= k) {
				t.Errorf("we, %d of 3 with %d cosignatures: %v", k, signers, err)
			}
		}
	}
}

// TestTorchwoodVerifiesReceipts: our receipts are proofs that torchwood
// verifies, and that it would have written the same.
func TestTorchwoodVerifiesReceipts(t *testing.T) {
	l := newLedger(t, 1000)
	policy := torchwoodPolicy(t, l, 2)
	for _, index := range []uint64{0, 1, 200, 255, 256, 511, 767, 768, 998, 999} {
		file := l.receipt(t, index, 2)
		leaf, err := torchwood.ProofExtraData(file)
		if err != nil || !bytes.Equal(leaf, l.leaves[index]) {
			t.Fatalf("index %d: extra data of %d bytes, %v", index, len(leaf), err)
		}
		if err := torchwood.VerifyProof(policy, xtlog.RecordHash(leaf), file); err != nil {
			t.Errorf("index %d: %v", index, err)
		}
		if err := torchwood.VerifyProof(policy, xtlog.RecordHash([]byte("forged")), file); err == nil {
			t.Errorf("index %d: torchwood accepts another entry", index)
		}
		if err := torchwood.VerifyProof(torchwoodPolicy(t, l, 3), xtlog.RecordHash(leaf), file); err == nil {
			t.Errorf("index %d: torchwood accepts 2 cosignatures for 3", index)
		}
		r, err := tlog.ParseReceipt(file)
		if err != nil {
			t.Fatal(err)
		}
		var proof xtlog.RecordProof
		for _, h := range r.Proof {
			proof = append(proof, xtlog.Hash(h))
		}
		if theirs := torchwood.FormatProofWithExtraData(int64(index), leaf, proof, r.Checkpoint); !bytes.Equal(theirs, file) {
			t.Errorf("index %d: torchwood writes another receipt:\n%s\nours:\n%s", index, theirs, file)
		}
	}
}

// TestTorchwoodReadsOurTiles: its client reads all entries from the tiles, each
// with a proof, against the checkpoint.
func TestTorchwoodReadsOurTiles(t *testing.T) {
	const size = 66_000
	l := newLedger(t, size)
	dir := t.TempDir()
	l.write(t, dir)
	cp, _, err := torchwood.VerifyCheckpoint(l.note(t, 2), torchwoodPolicy(t, l, 2))
	if err != nil {
		t.Fatal(err)
	}
	files, err := torchwood.NewTileFS(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	client, err := torchwood.NewClient(files)
	if err != nil {
		t.Fatal(err)
	}
	next := int64(0)
	for index, entry := range client.AllEntries(context.Background(), cp.Tree, 0) {
		if index != next || !bytes.Equal(entry, l.leaves[index]) {
			t.Fatalf("entry %d: %q, want entry %d: %q", index, entry, next, l.leaves[next])
		}
		next++
	}
	if err := client.Err(); err != nil {
		t.Fatal(err)
	}
	if next != size {
		t.Errorf("%d entries, want %d", next, size)
	}
	for _, index := range []int64{0, 65535, 65536, size - 1} {
		entry, proof, err := client.Entry(context.Background(), cp.Tree, index)
		if err != nil || !bytes.Equal(entry, l.leaves[index]) {
			t.Errorf("entry %d: %q, %v", index, entry, err)
		}
		if err := xtlog.CheckRecord(proof, cp.N, cp.Hash, index, xtlog.RecordHash(entry)); err != nil {
			t.Errorf("entry %d: %v", index, err)
		}
	}
}

// TestTorchwoodReadsOurPolicy: the text of a policy means the same to
// torchwood, whose parser wants an Ed25519 key for the log.
func TestTorchwoodReadsOurPolicy(t *testing.T) {
	l := newLedger(t, 300)
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	logKey, err := tlog.ParseVerifierKey(vkey)
	if err != nil {
		t.Fatal(err)
	}
	text := l.checkpoint().Text()
	base, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		t.Fatal(err)
	}
	for k := 1; k <= 3; k++ {
		ours, err := tlog.NewPolicy([]*tlog.VerifierKey{logKey}, ourPolicy(t, l, k).Cosigners(), k)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := torchwood.ParsePolicy(ours.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		signed := bytes.Clone(base)
		for n := 0; ; n++ {
			_, _, theirErr := torchwood.VerifyCheckpoint(signed, theirs)
			_, ourErr := ours.Verify(signed)
			if (theirErr == nil) != (n >= k) || (ourErr == nil) != (n >= k) {
				t.Errorf("%d of 3 with %d cosignatures: torchwood %v, we %v", k, n, theirErr, ourErr)
			}
			if n == len(l.nodes) {
				break
			}
			sig, err := l.nodes[n].Cosign(l.checkpoint(), 1_700_000_000)
			if err != nil {
				t.Fatal(err)
			}
			signed = append(signed, sig.Line()...)
		}
	}
}

// TestEd25519Cosignature: we verify a cosignature of the older kind by
// torchwood.
func TestEd25519Cosignature(t *testing.T) {
	l := newLedger(t, 300)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	witness, err := torchwood.NewCosignatureSigner("witness.example/old", private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := tlog.ParseVerifierKey(witness.Verifier().String())
	if err != nil {
		t.Fatal(err)
	}
	data, err := witness.Sign([]byte(l.checkpoint().Text()))
	if err != nil {
		t.Fatal(err)
	}
	sig := tlog.Signature{Name: witness.Name(), KeyID: witness.KeyHash(), Data: data}
	timestamp, err := key.VerifyCheckpoint(l.checkpoint(), sig)
	if err != nil || timestamp == 0 {
		t.Errorf("timestamp %d, %v", timestamp, err)
	}
	other := l.checkpoint()
	other.Size++
	if _, err := key.VerifyCheckpoint(other, sig); err == nil || !strings.Contains(err.Error(), "signature is not valid") {
		t.Errorf("another checkpoint: %v", err)
	}
}
