package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// runs runs a command line and returns its exit code and its two outputs.
func runs(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = execute(t.Context(), args, streams{in: strings.NewReader(""), out: &o, err: &e})
	return code, o.String(), e.String()
}

// ofKeys is the genesis of the audited ledger, which quorum of two members seal when there are two.
func ofKeys(quorum uint32, members int) func(log, member string) *ledger.Genesis {
	return func(log, member string) *ledger.Genesis {
		g := &ledger.Genesis{
			FeatureLevel: 1, Origin: "example.org/ledger", Program: "log", ProgramVersion: 1, LogKeys: []string{log},
			Members: []ledger.Member{{ID: 1, Name: "n1", Cosigner: member}}, SealQuorum: quorum,
		}
		if members == 2 {
			g.Members = append(g.Members, ledger.Member{ID: 2, Name: "n2", Cosigner: "example.org/ledger/n2+00000000+AA"})
		}
		return g
	}
}

// receiptOf writes the receipt of an entry of the world's newer copy, and returns the file.
func (w *auditWorld) receiptOf(index uint64) string {
	w.t.Helper()
	note, err := os.ReadFile(filepath.Join(w.newer, "checkpoint"))
	check(w.t, err)
	bundle, err := os.ReadFile(filepath.Join(w.newer, merkle.EntriesPath(0, 5)))
	check(w.t, err)
	leaves, err := merkle.ParseEntryBundle(bundle, 5)
	check(w.t, err)
	proof, err := merkle.InclusionProof(merkle.TileReaderFunc(func(uint8, uint64, int) ([]merkle.Hash, error) {
		return merkle.LeafHashes(leaves), nil
	}), index, 5)
	check(w.t, err)
	r := tlog.Receipt{Extra: leaves[index], Index: index, Proof: proof, Checkpoint: note}
	file := filepath.Join(w.t.TempDir(), "receipt")
	check(w.t, os.WriteFile(file, r.Marshal(), 0o644))
	return file
}

// TestDerivedPolicyIsNamed: what verifies with a policy that was derived from that of another
// ledger says so, and says whether the ledger's genesis agrees. A policy that was given says
// nothing.
func TestDerivedPolicyIsNamed(t *testing.T) {
	t.Parallel()
	w := newAuditWorldOf(t, ofKeys(1, 1))
	derived := []string{"--policy", w.first, "--ledger", "example.org/ledger"}
	given := []string{"--policy", w.policy, "--ledger", "example.org/ledger"}
	genesis, entry := w.receiptOf(0), w.receiptOf(3)
	for name, c := range map[string]struct {
		args      []string
		from      string
		confirmed any
	}{
		"a receipt":                            {append([]string{"verify", entry}, derived...), "example.org/first", false},
		"the genesis' receipt":                 {append([]string{"verify", genesis}, derived...), "example.org/first", true},
		"a receipt with the ledger's policy":   {append([]string{"verify", entry}, given...), "", nil},
		"an audit":                             {append([]string{"audit", w.newer}, derived...), "example.org/first", true},
		"an audit with the ledger's policy":    {append([]string{"audit", w.newer}, given...), "", nil},
		"a policy":                             {append([]string{"policy", "show"}, derived...), "example.org/first", false},
		"a policy that was not derived at all": {append([]string{"policy", "show"}, given...), "", nil},
	} {
		code, out, errs := runs(t, append(c.args, "--output", "json")...)
		var got map[string]any
		if err := json.Unmarshal([]byte(out), &got); code != exitOK || err != nil {
			t.Errorf("%s: exit code %d, %s%s", name, code, out, errs)
			continue
		}
		if from, _ := got["policy_derived_from"].(string); from != c.from || got["policy_confirmed_by_genesis"] != c.confirmed {
			t.Errorf("%s: derived from %q, confirmed %v; want %q, %v", name, from, got["policy_confirmed_by_genesis"], c.from, c.confirmed)
		}
		_, text, _ := runs(t, c.args...)
		want := map[any]string{true: "the ledger's genesis agrees", false: "not compared with the ledger's genesis"}[c.confirmed]
		if strings.Contains(text, "derived") != (c.from != "") || !strings.Contains(text, want) {
			t.Errorf("%s: the text is\n%s", name, text)
		}
	}
	// The genesis' receipt confirms the policy for the receipts behind it, too.
	if code, out, _ := runs(t, append([]string{"verify", genesis, entry}, derived...)...); code != exitOK || strings.Count(out, "genesis agrees") != 2 {
		t.Errorf("two receipts: %d\n%s", code, out)
	}
}

// TestDerivedPolicyIsRefused: a ledger that other members or another quorum seals than the derived
// policy demands is refused, by an audit that resumes an earlier one, too.
func TestDerivedPolicyIsRefused(t *testing.T) {
	t.Parallel()
	w := newAuditWorldOf(t, ofKeys(2, 2))
	derived := []string{"--policy", w.first, "--ledger", "example.org/ledger"}
	refused := func(what string, args ...string) {
		t.Helper()
		code, out, errs := runs(t, append(args, derived...)...)
		if code != exitRefused || !strings.Contains(errs, "the policy that was derived from that of example.org/first is not that of the ledger") ||
			!strings.Contains(errs, "n2 of a member") || strings.Contains(out, "nothing wrong") {
			t.Errorf("%s: exit code %d\n%s%s", what, code, out, errs)
		}
	}
	refused("the genesis' receipt", "verify", w.receiptOf(0))
	refused("an audit", "audit", w.newer, "--state", w.state)
	if _, err := os.Stat(w.state); err == nil {
		t.Error("the refused audit is remembered")
	}
	if code, said := w.audit(w.older); code != exitOK { // with the ledger's policy
		t.Fatalf("exit code %d: %s", code, said)
	}
	refused("an audit that goes on", "audit", w.newer, "--state", w.state)
	if w.audited() != 3 {
		t.Errorf("%d entries count as audited, want 3", w.audited())
	}
	// A damaged copy says nothing about the ledger's genesis.
	path := filepath.Join(w.newer, merkle.EntriesPath(0, 5))
	raw, err := os.ReadFile(path)
	check(t, err)
	raw[len(raw)-1] ^= 1
	check(t, os.WriteFile(path, raw, 0o644))
	code, out, errs := runs(t, append([]string{"audit", w.newer, "--output", "json"}, derived...)...)
	if code != exitRefused || strings.Contains(errs, "derived") || !strings.Contains(out, `"policy_confirmed_by_genesis":false`) {
		t.Errorf("a damaged copy: exit code %d\n%s%s", code, out, errs)
	}
}
