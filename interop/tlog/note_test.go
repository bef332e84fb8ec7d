package tlog_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"filippo.io/mldsa"
	"filippo.io/torchwood"
	"github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnledger/cairn/merkle/tlog"
)

// TestFormatsAcceptsOurLines: transparency-dev/formats, which uses
// filippo.io/mldsa, verifies the lines of log and nodes.
func TestFormatsAcceptsOurLines(t *testing.T) {
	l := newLedger(t, 300)
	signed := l.note(t, 3)
	var verifiers []note.Verifier
	for _, c := range append([]*tlog.Cosigner{l.log}, l.nodes...) {
		v, err := fnote.NewVerifier(c.Key().String())
		if err != nil {
			t.Fatal(err)
		}
		if v.Name() != c.Key().Name() || v.KeyHash() != c.Key().KeyID() {
			t.Errorf("formats reads key %s as %s %08x, want id %08x", c.Key().Name(), v.Name(), v.KeyHash(), c.Key().KeyID())
		}
		verifiers = append(verifiers, v)
	}
	cp, _, n, err := log.ParseCheckpoint(signed, origin, verifiers[0], verifiers[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	if cp.Size != 300 || !bytes.Equal(cp.Hash, rootBytes(l)) || len(n.Sigs) != 4 || len(n.UnverifiedSigs) != 0 {
		t.Errorf("size %d, root %x, %d verified and %d unverified lines", cp.Size, cp.Hash, len(n.Sigs), len(n.UnverifiedSigs))
	}
	for _, s := range n.Sigs {
		if at, err := fnote.CoSigV1Timestamp(s); err != nil || at.Unix() != 1_700_000_000 {
			t.Errorf("timestamp of %s: %s, %v", s.Name, at, err)
		}
	}
	// A flipped bit in any line: the note is refused.
	for i := range 4 {
		n, err := tlog.ParseNote(signed)
		if err != nil {
			t.Fatal(err)
		}
		n.Signatures[i].Data[500] ^= 1
		if _, err := note.Open(n.Marshal(), note.VerifierList(verifiers...)); err == nil {
			t.Errorf("accepted a changed line %d", i)
		}
	}
}

func rootBytes(l *ledger) []byte {
	root := l.tree.Root()
	return root[:]
}

// TestWeAcceptLinesOfOthers: checkpoints signed by formats and torchwood, with
// keys that they made, verify under our policy.
func TestWeAcceptLinesOfOthers(t *testing.T) {
	l := newLedger(t, 300)
	text := l.checkpoint().Text()

	skey, vkey, err := fnote.GenerateMLDSAKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	logSigner, err := fnote.NewMLDSASigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	logKey, err := tlog.ParseVerifierKey(vkey)
	if err != nil {
		t.Fatal(err)
	}
	if logKey.String() != vkey {
		t.Errorf("key %s, want %s", logKey, vkey)
	}

	private, err := mldsa.GenerateKey(mldsa.MLDSA44())
	if err != nil {
		t.Fatal(err)
	}
	witness, err := torchwood.NewCosignatureSigner("witness.example/w1", private)
	if err != nil {
		t.Fatal(err)
	}
	witnessKey, err := tlog.ParseVerifierKey(witness.Verifier().String())
	if err != nil {
		t.Fatal(err)
	}

	signed, err := note.Sign(&note.Note{Text: text}, logSigner, witness)
	if err != nil {
		t.Fatal(err)
	}
	p, err := tlog.NewPolicy([]*tlog.VerifierKey{logKey}, []*tlog.VerifierKey{witnessKey}, 1)
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.Verify(signed)
	if err != nil {
		t.Fatal(err)
	}
	if v.Checkpoint != l.checkpoint() || len(v.Cosigners) != 1 || v.Cosigners[0].Time.IsZero() {
		t.Errorf("verified %+v", v)
	}
	n, err := tlog.ParseNote(signed)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(n.Marshal(), signed) {
		t.Error("a note signed by others is written in another way")
	}
	if got := binary.BigEndian.Uint64(n.Signatures[1].Data); int64(got) != v.Cosigners[0].Time.Unix() {
		t.Errorf("timestamp %d, want that of the line, %d", v.Cosigners[0].Time.Unix(), got)
	}
}
