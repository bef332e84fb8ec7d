package proof_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/proof"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

// vectors are for whoever writes another verifier: docs/settlement.md.
type vectors struct {
	Comment  string
	Policy   string
	Accepted []acceptedVector
	Refused  []refusedVector
}

type acceptedVector struct {
	Name, Kind, File string
	// What an account has as of the size: posted and pending sums in minor units, and how many
	// entries touched it. Of a statement: at its end. Absent is an account that does not exist.
	Account string `json:",omitempty"`
	Absent  bool   `json:",omitempty"`
	Size    uint64 `json:",omitempty"`

	DebitsPending, DebitsPosted, CreditsPending, CreditsPosted, Sequence uint64

	// Entries are the indexes of a statement's entries.
	Entries []uint64 `json:",omitempty"`
	// Status is what a transfer or an instruction is, and Shown what the file shows of accounts.
	Status string        `json:",omitempty"`
	Shown  []shownVector `json:",omitempty"`
}

// shownVector is what an account has after an entry.
type shownVector struct {
	Index   uint64
	Account string

	DebitsPending, DebitsPosted, CreditsPending, CreditsPosted, Sequence uint64
}

func shownVectors(shown []proof.Shown) (list []shownVector) {
	for i := range shown {
		l := &shown[i].Line
		b := &l.Balances
		list = append(list, shownVector{shown[i].Index, l.Account, b.DebitsPending.Lo, b.DebitsPosted.Lo, b.CreditsPending.Lo, b.CreditsPosted.Lo, l.Sequence})
	}
	return list
}

type refusedVector struct {
	Why, Kind, File string
	// Signature says that nothing but a signature of the checkpoint is wrong.
	Signature bool `json:",omitempty"`
}

const vectorFile = "testdata/vectors.json"

func accepted(t *testing.T, name string, raw []byte, policy *tlog.Policy) acceptedVector {
	t.Helper()
	v, err := proof.Verify(raw, policy)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	a := acceptedVector{Name: name, File: string(raw)}
	account := v.Account
	switch {
	case v.Transfer != nil:
		a.Kind, a.Status, a.Shown = "transfer", v.Transfer.Status.String(), shownVectors(v.Transfer.Shown)
		return a
	case v.Instruction != nil:
		a.Kind, a.Status, a.Shown = "instruction", v.Instruction.Result.Status.String(), shownVectors(v.Instruction.Shown)
		return a
	case v.Statement != nil:
		a.Kind, account = "statement", v.Statement.Closing
		for _, e := range v.Statement.Entries {
			a.Entries = append(a.Entries, e.Index)
		}
	default:
		a.Kind = "account"
	}
	a.Account, a.Size = account.ID, account.Size
	if a.Absent = account.Account == nil; !a.Absent {
		b := &account.Account.Balances
		a.DebitsPending, a.DebitsPosted, a.CreditsPending, a.CreditsPosted = b.DebitsPending.Lo, b.DebitsPosted.Lo, b.CreditsPending.Lo, b.CreditsPosted.Lo
		a.Sequence = account.Account.Sequence
	}
	return a
}

func makeVectors(t *testing.T) *vectors {
	b := filled(t)
	at := map[string]uint64{}
	for _, i := range []*settlement.Instruct{
		b.instruct("i-alice", "alice", "bob", "alice", ""), b.instruct("i-bob", "bob", "alice", "", "bob"), b.instruct("i-open", "alice", "bob", "alice", ""),
	} {
		at[i.ID] = b.l.Head().Size
		b.do(i)
	}
	head := b.l.Head().Size
	// instruction shows what alice has where she gave the instruction, and where it was settled.
	instruction := func(id, match, last string) *proof.Instruction {
		p := &proof.Instruction{ID: id, Given: b.receipt(at[id])}
		indexes := []uint64{at[id]}
		if match != "" {
			p.Match, indexes = b.receipt(at[match]), append(indexes, at[match])
		}
		if last != "" {
			p.Last, indexes = b.receipt(at[last]), append(indexes, at[last])
		}
		for part, index := range indexes {
			p.Details = append(p.Details, b.details(part, index, "alice")...)
		}
		return p
	}
	hide := func(i uint64) bool { return i%2 == 0 }
	show := func(uint64) bool { return false }
	x := &vectors{Comment: "Proofs of a settlement ledger, as docs/settlement.md describes them, under one policy. Sums are in minor units.", Policy: string(b.policy.Marshal())}
	for _, c := range []struct {
		name string
		raw  []byte
	}{
		{"an account now", b.prove("alice", head).Marshal()},
		{"an account as of an earlier size", b.prove("alice", 20).Marshal()},
		{"an account that does not exist", b.prove("nobody", head).Marshal()},
		{"a transfer", b.transferProof("in-1", mustIndex(t, b, "in-1")[0]).Marshal()},
		{"a transfer that was pending and is posted", b.transferProof("out-3", mustIndex(t, b, "out-3")...).Marshal()},
		{"a transfer without details", bare(b.transferProof("in-1", mustIndex(t, b, "in-1")[0])).Marshal()},
		{"an instruction that is settled, with its match", instruction("i-alice", "i-bob", "i-bob").Marshal()},
		{"an instruction without its match", instruction("i-bob", "", "i-bob").Marshal()},
		{"an instruction that is open", instruction("i-open", "", "").Marshal()},
		{"a rejected transfer", b.transferProof("too-much", mustIndex(t, b, "too-much")[0]).Marshal()},
		{"a statement from the beginning", b.statement(0, 22, show).Marshal()},
		{"a statement whose entries are partly hidden", b.statement(14, 30, hide).Marshal()},
	} {
		x.Accepted = append(x.Accepted, accepted(t, c.name, c.raw, b.policy))
	}
	account := func(why string, change func(*proof.Account)) {
		a := b.prove("alice", head)
		change(a)
		x.Refused = append(x.Refused, refusedVector{Why: why, Kind: "account", File: string(a.Marshal())})
	}
	account("the record has other balances than the map", func(a *proof.Account) { a.Record = bytes.Clone(a.Record); a.Record[30] ^= 1 })
	account("a sibling in the map's proof is changed", func(a *proof.Account) { a.Map.Steps[0].Sibling[0] ^= 1 })
	account("the record is that of another account", func(a *proof.Account) { a.Record = b.prove("bob", head).Record })
	account("the map has the account, and the file says that there is none", func(a *proof.Account) { a.Record = nil })
	account("the walk of one account does not show that another is absent", func(a *proof.Account) {
		o := b.prove("nobody", head)
		a.Record, a.Map = nil, o.Map
	})
	account("the leaf is a command, not a record of the map root", func(a *proof.Account) { a.Root = b.receipt(a.Root.Index - 1) })
	account("the root is that of an earlier size", func(a *proof.Account) { a.Root = b.prove("alice", 20).Root })
	account("the inclusion proof is changed", func(a *proof.Account) { a.Root.Proof[0][0] ^= 1 })
	account("the receipt names another index", func(a *proof.Account) { a.Root.Index-- })
	statement := func(why string, change func(*proof.Statement)) {
		s := b.statement(14, 30, hide)
		change(s)
		x.Refused = append(x.Refused, refusedVector{Why: why, Kind: "statement", File: string(s.Marshal())})
	}
	hidden := func(s *proof.Statement) int {
		for i := range s.Entries {
			if s.Entries[i].Covered == nil {
				return i
			}
		}
		t.Fatal("no entry is hidden")
		return 0
	}
	statement("an entry is left out", func(s *proof.Statement) { s.Entries = append(s.Entries[:1:1], s.Entries[2:]...) })
	statement("an entry stands twice", func(s *proof.Statement) { s.Entries = append(s.Entries[:2:2], s.Entries[1:]...) })
	statement("two entries are exchanged", func(s *proof.Statement) { s.Entries[0], s.Entries[1] = s.Entries[1], s.Entries[0] })
	statement("the line of a hidden entry has other balances", func(s *proof.Statement) {
		i := hidden(s)
		s.Entries[i] = otherLine(t, b, s.Entries[i])
	})
	statement("the opening is left out", func(s *proof.Statement) { s.Opening = nil })
	statement("it ends before it begins", func(s *proof.Statement) { s.Opening, s.Closing = s.Closing, s.Opening })
	transfer := func(why string, change func(*proof.Transfer)) {
		p := b.transferProof("out-3", mustIndex(t, b, "out-3")...)
		change(p)
		x.Refused = append(x.Refused, refusedVector{Why: why, Kind: "transfer", File: string(p.Marshal())})
	}
	transfer("the resolution is that of another transfer", func(p *proof.Transfer) { p.Resolution, p.Details = b.receipt(mustIndex(t, b, "out-6")[1]), nil })
	transfer("what resolves it asks for it", func(p *proof.Transfer) { p.Resolution, p.Details = p.Asked, nil })
	transfer("a detail has other balances", func(p *proof.Transfer) {
		p.Details[0].Bytes = bytes.Clone(p.Details[0].Bytes)
		p.Details[0].Bytes[76] ^= 1
	})
	transfer("a detail has another blind", func(p *proof.Transfer) {
		p.Details[1].Bytes = bytes.Clone(p.Details[1].Bytes)
		p.Details[1].Bytes[32] ^= 1
	})
	transfer("a detail is that of another entry", func(p *proof.Transfer) { p.Details[0].Bytes = p.Details[1].Bytes })
	transfer("a detail is that of an account that the entry did not touch", func(p *proof.Transfer) {
		p.Details = b.details(0, mustIndex(t, b, "in-1")[0], "world")
	})
	transfer("a detail is of no receipt", func(p *proof.Transfer) { p.Details[1].Part = 2 })
	transfer("a detail stands twice", func(p *proof.Transfer) { p.Details[1] = p.Details[0] })
	instructed := func(why string, p *proof.Instruction) {
		x.Refused = append(x.Refused, refusedVector{Why: why, Kind: "instruction", File: string(p.Marshal())})
	}
	instructed("the entry is its own match", instruction("i-alice", "i-alice", "i-bob"))
	instructed("no entry names the match", instruction("i-alice", "i-open", "i-bob"))
	instructed("the last entry gives no last status", instruction("i-open", "", "i-open"))
	instructed("the last entry speaks of others", instruction("i-open", "", "i-bob"))
	wrong := instruction("i-open", "", "")
	wrong.ID = "i-alice"
	instructed("the entry gives another instruction", wrong)
	other := b.transferProof("in-2", mustIndex(t, b, "in-1")[0])
	x.Refused = append(x.Refused,
		refusedVector{Why: "the entry asks for another transfer", Kind: "transfer", File: string(other.Marshal())},
		refusedVector{Why: "there are bytes behind the last part", Kind: "account", File: string(b.prove("alice", head).Marshal()) + "\n"},
		refusedVector{Why: "a line ends with a space", Kind: "account", File: strings.Replace(string(b.prove("alice", head).Marshal()), "account alice\n", "account alice \n", 1)})
	unsigned := b.prove("alice", head)
	lines := strings.Split(strings.TrimSuffix(string(unsigned.Root.Checkpoint), "\n"), "\n")
	last := []byte(lines[len(lines)-1])
	if at := len(last) - 40; last[at] == 'A' {
		last[at] = 'B'
	} else {
		last[at] = 'A'
	}
	lines[len(lines)-1] = string(last)
	unsigned.Root.Checkpoint = []byte(strings.Join(lines, "\n") + "\n")
	x.Refused = append(x.Refused, refusedVector{Why: "the cosignature is changed", Kind: "account", File: string(unsigned.Marshal()), Signature: true})
	return x
}

// bare takes the details out of a proof.
func bare(p *proof.Transfer) *proof.Transfer {
	p.Details = nil
	return p
}

// TestVectors: the published files are accepted with what they are said to prove, or refused. The
// signatures are random, so a file that is written anew has others.
func TestVectors(t *testing.T) {
	if *update {
		raw, err := json.MarshalIndent(makeVectors(t), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var x vectors
	if err := json.Unmarshal(raw, &x); err != nil {
		t.Fatal(err)
	}
	policy, err := tlog.ParsePolicy([]byte(x.Policy))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range x.Accepted {
		got, err := json.Marshal(accepted(t, c.Name, []byte(c.File), policy))
		want, err2 := json.Marshal(c)
		if err != nil || err2 != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %s, want %s", c.Name, got, want)
		}
	}
	for _, c := range x.Refused {
		if v, err := proof.Verify([]byte(c.File), policy); err == nil {
			t.Errorf("%s: it proves %+v", c.Why, v)
		}
	}
	if len(x.Accepted) < 12 || len(x.Refused) < 30 {
		t.Errorf("%d files and %d that are to be refused: too few to show anything", len(x.Accepted), len(x.Refused))
	}
}
