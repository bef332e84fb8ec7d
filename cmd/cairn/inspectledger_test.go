package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/badgerstore"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/raftnode/wal"
)

func inspectedGenesis(origin string, p ledger.Program) *ledger.Genesis {
	return &ledger.Genesis{
		FeatureLevel: 1, Origin: origin, Program: p.Name(), ProgramVersion: p.Version(), LogKeys: []string{"log key"},
		Members: []ledger.Member{{ID: 1, Name: "n1", Cosigner: "key"}, {ID: 2, Name: "n2", Cosigner: "key"}}, SealQuorum: 2,
	}
}

// writeLedger writes a ledger with a genesis and entries into the files of a node, as a clean stop
// leaves them.
func writeLedger(t *testing.T, log *wal.Log, store *badgerstore.Store, group uint64, origin string, p ledger.Program, entries ...ledger.NewEntry) {
	t.Helper()
	genesis, err := ledger.EncodeGenesis(inspectedGenesis(origin, p), "creator", 5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replica.Bootstrap(log, group, []uint64{1, 2}, genesis); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(store.Shared(), ledger.Config{Group: group, Origin: origin, Program: p})
	if err != nil {
		t.Fatal(err)
	}
	blocks := [][]byte{genesis}
	for _, e := range entries {
		block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, 6, []ledger.Batch{{Principal: "writer", Entries: []ledger.NewEntry{e}}})
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, block)
	}
	for i, block := range blocks {
		results, err := l.ApplyMany([]ledger.Committed{{RaftIndex: uint64(i + 1), RaftTerm: 1, Block: block}})
		if err != nil || results[0][0].Err != nil {
			t.Fatalf("block %d: %v, %+v", i, err, results)
		}
	}
	h := l.Head()
	s := ledger.Summary{RaftIndex: h.RaftIndex, RaftTerm: h.RaftTerm, Size: h.Size, Root: h.Root, Time: h.Time}
	_, conf, err := log.Group(group).InitialState()
	if err == nil {
		err = log.Append([]wal.Record{{Group: group, Mark: &wal.Mark{Index: s.RaftIndex, Term: s.RaftTerm, ConfState: conf, Meta: s.Marshal()}}}, true)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// inspected makes a node's data directory with three ledgers, whose groups are 1, 2 and 5, and with
// one that is in the Raft log alone.
func inspected(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "IDENTITY"), []byte("cairn identity v1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "wal"), Cluster: 1, Node: 1})
	if err != nil {
		t.Fatal(err)
	}
	store, err := badgerstore.Open(badgerstore.Options{Dir: filepath.Join(dir, "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	create, err := directory.Create(inspectedGenesis("example.org/money", accounts.Program{}))
	if err != nil {
		t.Fatal(err)
	}
	writeLedger(t, log, store, 1, "example.org/directory", directory.Program{}, ledger.NewEntry{Kind: ledger.KindCommand, Body: create})
	writeLedger(t, log, store, 2, "example.org/money", accounts.Program{}, ledger.NewEntry{Kind: ledger.KindCommand, Body: accounts.Open(7, 200)})
	writeLedger(t, log, store, 5, "example.org/log", ledger.Log{}, ledger.NewEntry{Kind: ledger.KindPayload, Body: []byte("hello")})
	genesis, err := ledger.EncodeGenesis(inspectedGenesis("example.org/young", ledger.Log{}), "creator", 5)
	if err == nil {
		_, err = replica.Bootstrap(log, 6, []uint64{1, 2}, genesis)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runInspect runs `cairn inspect ledger` and returns what it says.
func runInspect(t *testing.T, wantCode int, args ...string) (out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	if code := execute(t.Context(), append([]string{"inspect", "ledger"}, args...), streams{in: strings.NewReader(""), out: &o, err: &e}); code != wantCode {
		t.Fatalf("cairn inspect ledger %v: exit code %d, want %d: %s%s", args, code, wantCode, o.String(), e.String())
	}
	return o.String(), e.String()
}

// TestInspectLedgers: of several ledgers in one store each is found by its group and by its origin,
// dump wants one of them, and verify checks all.
func TestInspectLedgers(t *testing.T) {
	t.Parallel()
	dir := inspected(t)
	out, _ := runInspect(t, exitOK, "list", dir, "--output", "json")
	var listed struct{ Ledgers []heldResult }
	if err := json.Unmarshal([]byte(out), &listed); err != nil {
		t.Fatal(err)
	}
	want := []heldResult{{1, "example.org/directory", "directory", 2}, {2, "example.org/money", "accounts", 2}, {5, "example.org/log", "log", 2}}
	if fmt.Sprint(listed.Ledgers) != fmt.Sprint(want) {
		t.Errorf("listed: %v, want %v", listed.Ledgers, want)
	}
	for _, c := range []struct {
		args []string
		want []string // one for each entry
	}{
		{[]string{"--group", "1"}, []string{
			"genesis of example.org/directory: program directory version 1; members 1 n1, 2 n2; 2 cosignatures seal; feature level 1",
			"create example.org/money: program accounts version 1; members 1 n1, 2 n2; 2 cosignatures seal; feature level 1 -> created, group 2"}},
		{[]string{"--ledger", "example.org/money"}, []string{"genesis of example.org/money", base64Prefix + "AQAAAAAAAAAHAAAAAAAAAMg= -> "}},
		{[]string{"--group", "5"}, []string{"genesis of example.org/log", "hello"}},
		{[]string{"--group", "5", "--from", "1"}, []string{"hello"}},
	} {
		out, _ := runInspect(t, exitOK, append([]string{"dump", dir}, c.args...)...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		for i, want := range c.want {
			if len(lines) != len(c.want) || !strings.Contains(lines[i], want) {
				t.Errorf("dump %v: %q, want %d lines, the one of entry %d with %q", c.args, lines, len(c.want), i, want)
				break
			}
		}
	}
	if _, errs := runInspect(t, exitUsage, "dump", dir); !strings.Contains(errs, "1 example.org/directory, 2 example.org/money, 5 example.org/log") {
		t.Errorf("dump without a choice: %s", errs)
	}
	for _, none := range [][]string{{"--group", "6"}, {"--ledger", "example.org/young"}, {"--group", "1", "--ledger", "example.org/log"}} {
		if _, errs := runInspect(t, exitNotFound, append([]string{"verify", dir}, none...)...); !strings.Contains(errs, "no such ledger") {
			t.Errorf("verify %v: %s", none, errs)
		}
	}
	out, _ = runInspect(t, exitOK, "verify", dir, "--output", "json")
	if n := strings.Count(out, `"ok":true`); n != 3 {
		t.Errorf("verify checked %d ledgers, want 3: %s", n, out)
	}
	out, _ = runInspect(t, exitOK, "verify", dir, "--ledger", "example.org/log", "--output", "json")
	if !strings.Contains(out, `"group":5`) || strings.Count(out, `"ok":true`) != 1 {
		t.Errorf("verify of one: %s", out)
	}
}

// TestVerifyNamesTheLedger: damage to one of several ledgers is found and said of that one.
func TestVerifyNamesTheLedger(t *testing.T) {
	t.Parallel()
	dir := inspected(t)
	s, err := badgerstore.Open(badgerstore.Options{Dir: filepath.Join(dir, "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	prefix := []byte{0, 0, 0, 0, 0, 0, 0, 2, 'b'}
	block, err := s.Seek(prefix, prefix)
	if err == nil {
		err = s.Commit(100, []ledger.Pair{{Key: block.Key}})
	}
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, errs := runInspect(t, exitRefused, "verify", dir); !strings.Contains(errs, "example.org/money") || !strings.Contains(errs, "group 2") {
		t.Errorf("damage to the ledger of group 2: %s", errs)
	}
	runInspect(t, exitOK, "verify", dir, "--group", "5")
}
