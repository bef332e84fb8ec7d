package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

// TestPolicyInWords: a policy change and the end of its hand-over are printed in words and as
// objects.
func TestPolicyInWords(t *testing.T) {
	t.Parallel()
	key := func(name string) *tlog.Cosigner {
		secret, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tlog.NewCosigner(name, secret)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	log := key("example.org/money")
	change := &ledger.PolicyChange{Reason: ledger.PolicyRestore, Restored: ledger.Anchor{Size: 9}, Policy: ledger.Policy{
		Epoch: 2, Quorum: 1, LogKeys: []string{log.Key().String()},
		Members: []ledger.PolicyMember{
			{Member: ledger.Member{ID: 1, Name: "n1", Cosigner: key("c/n1").Key().String()}},
			{Member: ledger.Member{ID: 2, Name: "n2", Cosigner: key("c/n2").Key().String()}, Learner: true},
		},
	}}
	body, err := change.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	cp := tlog.Checkpoint{Origin: "example.org/money", Size: 7}
	sig, err := log.Cosign(cp, 1)
	if err != nil {
		t.Fatal(err)
	}
	note := tlog.Note{Text: cp.Text(), Signatures: []tlog.Signature{sig}}
	handover, err := ledger.HandoverBatch("p", ledger.Handover{Epoch: 2, Note: note.Marshal()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		body   []byte
		line   string
		text   []string
		object string
	}{
		{body, "record: policy of epoch 2 (restore), sealed by 1 of 1 voters",
			[]string{"  voter      n1 (1), signs as c/n1\n", "  learner    n2 (2), signs as c/n2\n", "  continues  size 9\n"},
			`"policy":{"epoch":2,"reason":"restore","quorum":1,"members":[{"id":1,"name":"n1",`},
		{handover.Entries[0].Body, "record: the policy of epoch 2 has taken over: 1 signature on size 7",
			[]string{fmt.Sprintf("  signed by  example.org/money+%08x\n", log.Key().KeyID())}, `"handover":{"epoch":2,"size":7,`},
	} {
		r := newEntry("log", 4, newRecord(c.body))
		if line := rendered(0, r.line); !strings.Contains(line, c.line) {
			t.Errorf("the line is\n%swant\n%s", line, c.line)
		}
		text := rendered(0, r.text)
		for _, want := range c.text {
			if !strings.Contains(text, want) {
				t.Errorf("the text is\n%swithout\n%s", text, want)
			}
		}
		if object, err := marshalLine(r); err != nil || !strings.Contains(string(object), c.object) {
			t.Errorf("the object is %s, %v; want %s in it", object, err, c.object)
		}
	}
}
