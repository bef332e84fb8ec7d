package tlog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// TestReceiptsVerifyOffline passes policy and receipt on as bytes, which is all
// that a verifier gets.
func TestReceiptsVerifyOffline(t *testing.T) {
	t.Parallel()
	l := newTestLedger(t, 3)
	policyFile := l.policy(t, 2).Marshal()
	for index := range l.tree.Size() {
		file := l.receipt(t, index, 2).Marshal()
		p, err := ParsePolicy(policyFile)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ParseReceipt(file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := p.VerifyReceipt(r)
		if err != nil {
			t.Fatalf("index %d: %v", index, err)
		}
		if v.Checkpoint != l.checkpoint() || len(v.Cosigners) != 2 || !bytes.Equal(r.Extra, l.leaves[index]) || r.Index != index {
			t.Errorf("index %d: verified %+v for index %d, entry %q", index, v, r.Index, r.Extra)
		}
	}
}

func TestReceiptRoundTrip(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(2, 2))
	l := newTestLedger(t, 1)
	note := l.note(t, l.log)
	for range 200 {
		r := &Receipt{Index: rng.Uint64() >> (1 + rng.UintN(63)), Checkpoint: note}
		if n := rng.IntN(3000); n > 10 {
			r.Extra = bytes.Repeat([]byte{byte(n)}, n)
		}
		for range rng.IntN(maxProofHashes + 1) {
			r.Proof = append(r.Proof, merkle.LeafHash([]byte{byte(rng.Uint32())}))
		}
		b := r.Marshal()
		got, err := ParseReceipt(b)
		if err != nil {
			t.Fatal(err)
		}
		if got.Index != r.Index || !bytes.Equal(got.Extra, r.Extra) || fmt.Sprint(got.Proof) != fmt.Sprint(r.Proof) || !bytes.Equal(got.Checkpoint, note) {
			t.Fatalf("receipt does not survive: %+v became %+v", r, got)
		}
		if !bytes.Equal(got.Marshal(), b) {
			t.Fatal("receipt is written in two ways")
		}
	}
	largest := &Receipt{Extra: make([]byte, merkle.MaxEntrySize), Index: 1, Checkpoint: note}
	if _, err := ParseReceipt(largest.Marshal()); err != nil {
		t.Errorf("receipt of the largest entry: %v", err)
	}
	largest.Extra = append(largest.Extra, 0)
	_, err := ParseReceipt(largest.Marshal())
	wantError(t, "receipt of an entry that is too large", err, "larger than an entry can be")
}

func TestReceiptsThatAreRefused(t *testing.T) {
	t.Parallel()
	l := newTestLedger(t, 1)
	note := string(l.note(t, l.log))
	hash := "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n"
	const head = "c2sp.org/tlog-proof@v1\n"
	for _, tt := range []struct{ name, receipt, want string }{
		{"good", head + "extra QUE=\nindex 5\n" + hash + hash + "\n" + note, ""},
		{"without extra", head + "index 5\n" + hash + "\n" + note, ""},
		{"without proof", head + "index 0\n\n" + note, ""},
		{"longest proof", head + "index 0\n" + strings.Repeat(hash, 63) + "\n" + note, ""},

		{"empty", "", "line 1 lacks its newline"},
		{"another version", "c2sp.org/tlog-proof@v2\nindex 0\n\n" + note, `first line is "c2sp.org/tlog-proof@v2", want "c2sp.org/tlog-proof@v1"`},
		{"a checkpoint", note, `first line is "ledger.example/audit"`},
		{"header only", head, "line 2 lacks its newline"},
		{"empty extra", head + "extra \nindex 0\n\n" + note, "line 2: extra line without data"},
		{"extra without space", head + "extraQUE=\nindex 0\n\n" + note, `line 2 is "extraQUE="`},
		{"extra not base64", head + "extra QUE\nindex 0\n\n" + note, "line 2: extra data: decode base64"},
		{"extra after index", head + "index 0\nextra QUE=\n\n" + note, "line 3: hash 1"},
		{"extra twice", head + "extra QUE=\nextra QUE=\nindex 0\n\n" + note, "line 3 is"},
		{"no index", head + "extra QUE=\n" + hash + "\n" + note, "line 3 is"},
		{"negative index", head + "index -1\n\n" + note, "line 2: index: number holds '-'"},
		{"leading zero", head + "index 01\n\n" + note, "line 2: index: number has a leading zero"},
		{"index too large", head + "index 9223372036854775808\n\n" + note, "line 2: index: number is larger"},
		{"short hash", head + "index 0\n" + hash + hash[4:] + "\n" + note, "line 4: hash 2 of the inclusion proof: 40 characters"},
		{"proof too long", head + "index 0\n" + strings.Repeat(hash, 64) + "\n" + note, "line 66: more than 63 hashes"},
		{"no empty line", head + "index 0\n" + hash + note, "line 4: hash 2"},
		{"carriage returns", head + "index 1\r\n\r\n" + note, "line 2: index: number holds"},
		{"no checkpoint", head + "index 0\n\n", "parse note"},
		{"checkpoint without signatures", head + "index 0\n\n" + l.checkpoint().Text(), "parse note: no empty line"},
		{"more after the checkpoint", head + "index 0\n\n" + note + "x\n", "parse note: signature line 2"},
		{"too large", head + strings.Repeat("x", MaxReceiptSize), "at most"},
	} {
		r, err := ParseReceipt([]byte(tt.receipt))
		wantError(t, tt.name, err, tt.want)
		if err == nil && string(r.Marshal()) != tt.receipt {
			t.Errorf("%s: Marshal: %q, want %q", tt.name, r.Marshal(), tt.receipt)
		}
	}
}

// TestTruncatedReceiptsAreRefused cuts a receipt after every byte.
func TestTruncatedReceiptsAreRefused(t *testing.T) {
	t.Parallel()
	l := newTestLedger(t, 2)
	p := l.policy(t, 2)
	file := l.receipt(t, 21, 2).Marshal()
	for n := range file {
		r, err := ParseReceipt(file[:n])
		if err != nil {
			if n > 0 && file[n-1] != '\n' && !strings.Contains(err.Error(), "truncated") {
				t.Fatalf("first %d bytes of %d: error %v does not say that the receipt is truncated", n, len(file), err)
			}
			continue
		}
		// Whole signature lines are missing: well-formed, but without quorum.
		if _, err := p.VerifyReceipt(r); !errors.Is(err, ErrQuorum) {
			t.Fatalf("first %d bytes of %d: error %v, want ErrQuorum", n, len(file), err)
		}
	}
}

// TestFlippedReceiptsAreRefused flips a bit in every byte of a receipt whose
// checkpoint has no more lines than the policy demands. Bytes inside signatures
// are sampled: what they do is a question for ML-DSA.
func TestFlippedReceiptsAreRefused(t *testing.T) {
	t.Parallel()
	l := newTestLedger(t, 2)
	p := l.policy(t, 2)
	file := l.receipt(t, 21, 2).Marshal()
	lineStart := 0
	for i := range file {
		if i > 0 && file[i-1] == '\n' {
			lineStart = i
		}
		inSignature := bytes.HasPrefix(file[lineStart:], []byte(signaturePrefix)) && i > lineStart+60
		if inSignature && i%41 != 0 {
			continue
		}
		flipped := bytes.Clone(file)
		flipped[i] ^= 1 << (i % 8)
		r, err := ParseReceipt(flipped)
		if err == nil {
			_, err = p.VerifyReceipt(r)
		}
		if err == nil {
			t.Fatalf("bit %d of byte %d (%q of line %q) does not matter", i%8, i, file[i], file[lineStart:min(lineStart+60, len(file))])
		}
	}
}

// TestReceiptVerdicts: each way in which a well-formed receipt can be wrong has
// its reason.
func TestReceiptVerdicts(t *testing.T) {
	t.Parallel()
	l := newTestLedger(t, 3)
	p := l.policy(t, 2)
	for _, tt := range []struct {
		name   string
		change func(r *Receipt)
		is     error
		want   string
	}{
		{"good", func(*Receipt) {}, nil, ""},
		{"another entry", func(r *Receipt) { r.Extra = []byte("forged") }, merkle.ErrProof, "leaf and proof give root"},
		{"one bit of the entry", func(r *Receipt) { r.Extra[0] ^= 1 }, merkle.ErrProof, "leaf and proof give root"},
		{"no entry", func(r *Receipt) { r.Extra = nil }, ErrNoEntry, "no extra line"},
		{"entry too large", func(r *Receipt) { r.Extra = make([]byte, merkle.MaxEntrySize+1) }, nil, "at most 65535"},
		{"another index", func(r *Receipt) { r.Index++ }, merkle.ErrProof, "leaf and proof give root"},
		{"index at the size", func(r *Receipt) { r.Index = 37 }, merkle.ErrProof, "index 37 is beyond size 37"},
		{"index beyond all", func(r *Receipt) { r.Index = 1 << 63 }, nil, "beyond any ledger"},
		{"one hash of the proof", func(r *Receipt) { r.Proof[2][5] ^= 1 }, merkle.ErrProof, "leaf and proof give root"},
		{"proof too short", func(r *Receipt) { r.Proof = r.Proof[1:] }, merkle.ErrProof, "5 hashes prove inclusion, want 6 for index 7 of 37"},
		{"proof too long", func(r *Receipt) { r.Proof = append(r.Proof, merkle.Hash{}) }, merkle.ErrProof, "7 hashes prove inclusion, want 6"},
		{"no quorum", func(r *Receipt) { r.Checkpoint = l.note(t, l.log, l.nodes[2]) }, ErrQuorum, "missing: " + testOrigin + "/n1, " + testOrigin + "/n2"},
		{"no log", func(r *Receipt) { r.Checkpoint = l.note(t, l.nodes...) }, ErrNoLogSignature, "ledger.example/audit"},
		{"checkpoint of another tree", func(r *Receipt) {
			other := newTestLedger(t, 3)
			other.tree.Append(merkle.LeafHashes([][]byte{[]byte("one more")}))
			r.Checkpoint = other.note(t, other.log, other.nodes[0], other.nodes[1])
		}, merkle.ErrProof, "verify inclusion in checkpoint of size 38"},
	} {
		r, err := ParseReceipt(l.receipt(t, 7, 2).Marshal())
		if err != nil {
			t.Fatal(err)
		}
		tt.change(r)
		v, err := p.VerifyReceipt(r)
		wantError(t, tt.name, err, tt.want)
		if tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: error %v is not %v", tt.name, err, tt.is)
		}
		if (err == nil) != (v != nil) {
			t.Errorf("%s: checkpoint %v with error %v", tt.name, v, err)
		}
	}
}
