package tlog

import (
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
)

// TestPolicyFor: which logs the policy of another ledger of the cluster lists.
func TestPolicyFor(t *testing.T) {
	t.Parallel()
	const other = "ledger.example/payments"
	keys := testKeys(t)
	keys["OTHERLOG"] = testCosigner(t, other, 2).Key().String()
	keys["RENAMED"] = testCosigner(t, other, 1).Key().String()
	ed, _ := ed25519Key(t, other, Ed25519, 5)
	keys["EDRENAMED"] = ed.String()
	const rest = "witness a $W1$ https://a.example/\nwitness b $W2$\nwitness c $EDCOSIGNER$\ngroup g 1 a b\ngroup all all g c\nquorum all\n"
	for _, tt := range []struct{ name, text, origin, want, fails string }{
		{"the same ledger", "log $LOG$ https://log.example/\nlog $EDLOG$\n", testOrigin, "log $LOG$ https://log.example/\nlog $EDLOG$\n", ""},
		{"another ledger", "log $LOG$ https://log.example/\n", other, "log $RENAMED$\n", ""},
		{"two keys of one log", "log $LOG$\nlog $EDLOG$\n", other, "log $RENAMED$\nlog $EDRENAMED$\n", ""},
		{"the ledger is listed among others", "log $LOG$\nlog $OTHERLOG$\nlog $EDLOG$\n", other, "log $OTHERLOG$\n", ""},
		{"logs of two ledgers", "log $LOG$\nlog $OTHERLOG$\n", "third.example", "", "logs of other names, " + testOrigin + " and " + other},
		{"no log", "", other, "", "lists no log"},
		{"no origin", "log $LOG$\n", "", "", "key name is empty"},
		{"a space", "log $LOG$\n", "a b", "", "holds ' '"},
		{"a plus sign", "log $LOG$\n", "a+b", "", "holds '+'"},
		{"a delete character", "log $LOG$\n", "a\x7fb", "", "0x7f"},
		{"too long", "log $LOG$\n", strings.Repeat("x", MaxNameLength+1), "", "at most 255"},
	} {
		p, err := ParsePolicy([]byte(expand(tt.text+rest, keys)))
		if err != nil {
			t.Fatal(err)
		}
		before := p.String()
		q, err := p.For(tt.origin)
		wantError(t, tt.name, err, tt.fails)
		if p.String() != before {
			t.Errorf("%s: the policy itself has changed:\n%s", tt.name, p)
		}
		if err != nil {
			continue
		}
		if want := expand(tt.want+rest, keys); q.String() != want {
			t.Errorf("%s: policy\n%s\nwant\n%s", tt.name, q, want)
		}
		again, err := ParsePolicy(q.Marshal())
		if err != nil || again.String() != q.String() {
			t.Errorf("%s: the policy does not survive: %v", tt.name, err)
		}
	}
}

// TestPolicyForJudges: a derived policy accepts the checkpoints of its ledger, and none of the
// ledger that it was derived from, although the same keys signed them.
func TestPolicyForJudges(t *testing.T) {
	t.Parallel()
	const other = "ledger.example/payments"
	l := newTestLedger(t, 3)
	cp := l.checkpoint()
	cp.Origin = other
	note := &Note{Text: cp.Text()}
	for _, c := range []*Cosigner{testCosigner(t, other, 1), l.nodes[0], l.nodes[2]} {
		sig, err := c.Cosign(cp, 1_700_000_000)
		if err != nil {
			t.Fatal(err)
		}
		note.Signatures = append(note.Signatures, sig)
	}
	ours, others := l.note(t, l.log, l.nodes[0], l.nodes[1]), note.Marshal()
	p := l.policy(t, 2)
	q, err := p.For(other)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := q.Verify(others); err != nil || v.Origin != other {
		t.Errorf("the checkpoint of the other ledger: %+v, %v", v, err)
	}
	if _, err := q.Verify(ours); !errors.Is(err, ErrUnknownLog) {
		t.Errorf("the derived policy judges the first ledger: %v, want ErrUnknownLog", err)
	}
	if _, err := p.Verify(others); !errors.Is(err, ErrUnknownLog) {
		t.Errorf("the policy judges the other ledger: %v, want ErrUnknownLog", err)
	}
	back, err := q.For(testOrigin)
	if err != nil || back.String() != p.String() {
		t.Errorf("derived there and back: %v\n%s\nwant\n%s", err, back, p)
	}
	note.Signatures = note.Signatures[:2]
	if _, err := q.Verify(note.Marshal()); !errors.Is(err, ErrQuorum) {
		t.Errorf("one cosignature of two: %v, want ErrQuorum", err)
	}
}
