package ledger_test

import (
	"fmt"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
)

// hearing is a program whose outcome says what it is told of a restore.
type hearing struct{}

func (hearing) Name() string                                { return "hearing" }
func (hearing) Version() uint32                             { return 1 }
func (hearing) MaxOutcome(ledger.Kind, []byte) (int, error) { return 100, nil }
func (hearing) Decide(_ ledger.View, in *ledger.Input) []byte {
	if in.Restored == nil {
		return []byte("never")
	}
	return fmt.Appendf(nil, "at %d for %d members from %d on", in.Restored.Index, len(in.Restored.Members), in.Restored.Members[0].ID)
}

// TestProgramsHearOfARestore: from the entry behind the record on, whether the ledger has just applied it
// or was opened since.
func TestProgramsHearOfARestore(t *testing.T) {
	t.Parallel()
	p := &policies{t: t, store: memstore.New(memstore.Options{})}
	open := func(start ledger.Summary) {
		var err error
		if p.Ledger, err = ledger.Open(p.store, ledger.Config{Group: 1, Origin: genesisOrigin, Program: hearing{}, Start: start}); err != nil {
			t.Fatal(err)
		}
	}
	open(ledger.Summary{})
	g := policyGenesis(t)
	g.Program, g.ProgramVersion = "hearing", 1
	raw, err := ledger.EncodeGenesis(g, "creator", 5)
	if err != nil {
		t.Fatal(err)
	}
	p.apply(raw)
	hears := func(when, want string) {
		t.Helper()
		p.append(ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindCommand, Body: []byte("x")}}})
		leaf, err := p.Leaf(p.Head().Size - 1)
		if err != nil {
			t.Fatal(err)
		}
		e, err := ledger.ParseLeaf(leaf)
		if err != nil || string(e.Outcome) != want {
			t.Errorf("%s: the program hears %q, %v, want %q", when, e.Outcome, err, want)
		}
	}
	hears("before", "never")
	c := p.change(ledger.PolicyRestore, func(q *ledger.Policy) {
		for i := range q.Members {
			q.Members[i].ID += 20
			q.Members[i].Cosigner = nodeKey(t, byte(40+i)).Key().String()
		}
	})
	head := p.Head()
	c.Restored = ledger.Anchor{Size: head.Size, Root: head.Root}
	if res := p.append(p.batch(c)); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	want := fmt.Sprintf("at %d for %d members from %d on", head.Size, len(c.Policy.Members), c.Policy.Members[0].ID)
	hears("just after", want)
	at, err := p.MakeDurable()
	if err != nil {
		t.Fatal(err)
	}
	open(at)
	hears("opened again", want)
}
