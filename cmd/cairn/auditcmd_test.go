package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

// auditWorld is a small ledger in two static copies, one older than the other, and its policy.
type auditWorld struct {
	t            *testing.T
	older, newer string // of 3 and of 5 entries
	policy       string // a file
	first        string // a file: the policy of another ledger with the same keys
	state        string // a file that does not exist yet
}

func newAuditWorld(t *testing.T) *auditWorld {
	t.Helper()
	return newAuditWorldOf(t, nil)
}

// newAuditWorldOf makes a ledger that begins with a genesis, of these keys, unless that is nil.
func newAuditWorldOf(t *testing.T, genesis func(log, member string) *ledger.Genesis) *auditWorld {
	t.Helper()
	const origin = "example.org/ledger"
	var signers []*tlog.Cosigner
	var keys, first []*tlog.VerifierKey
	for _, name := range []string{origin, origin + "/n1"} {
		key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
		check(t, err)
		c, err := tlog.NewCosigner(name, key)
		check(t, err)
		other, err := tlog.NewCosigner("example.org/first", key)
		check(t, err)
		signers, keys, first = append(signers, c), append(keys, c.Key()), append(first, other.Key())
	}
	policy, err := tlog.NewPolicy(keys[:1], keys[1:], 1)
	check(t, err)
	ofFirst, err := tlog.NewPolicy(first[:1], keys[1:], 1)
	check(t, err)
	dir := t.TempDir()
	w := &auditWorld{t: t, older: filepath.Join(dir, "older"), newer: filepath.Join(dir, "newer"),
		policy: filepath.Join(dir, "policy"), first: filepath.Join(dir, "first"), state: filepath.Join(dir, "state.json")}
	check(t, os.WriteFile(w.policy, policy.Marshal(), 0o644))
	check(t, os.WriteFile(w.first, ofFirst.Marshal(), 0o644))
	for to, size := range map[string]int{w.older: 3, w.newer: 5} {
		var leaves [][]byte
		var bundle []byte
		for i := range size {
			e := ledger.Entry{Kind: ledger.KindPayload, Time: int64(1_700_000_000_000_000 + i), Principal: "spiffe://example.org/svc/w", Body: fmt.Appendf(nil, "entry %d", i)}
			if genesis != nil && i == 0 {
				body, err := genesis(keys[0].String(), keys[1].String()).Marshal()
				check(t, err)
				e.Kind, e.Body = ledger.KindRecord, body
			}
			leaves = append(leaves, e.AppendLeaf(nil))
			bundle = merkle.AppendEntryBundle(bundle, leaves[i])
		}
		tree, hashes := merkle.NewTree(), merkle.LeafHashes(leaves)
		tree.Append(hashes)
		cp := tlog.Checkpoint{Origin: origin, Size: uint64(size), Root: tree.Root()}
		note := tlog.Note{Text: cp.Text()}
		for _, s := range signers {
			sig, err := s.Cosign(cp, uint64(1_700_000_000+size))
			check(t, err)
			note.Signatures = append(note.Signatures, sig)
		}
		for path, raw := range map[string][]byte{
			"checkpoint": note.Marshal(), merkle.EntriesPath(0, size): bundle, merkle.TilePath(0, 0, size): merkle.AppendTile(nil, hashes),
		} {
			check(t, os.MkdirAll(filepath.Dir(filepath.Join(to, path)), 0o755))
			check(t, os.WriteFile(filepath.Join(to, path), raw, 0o644))
		}
	}
	return w
}

// audit runs the command with the state file and returns its exit code and what it said on standard
// error.
func (w *auditWorld) audit(args ...string) (code int, said string) {
	w.t.Helper()
	var errs bytes.Buffer
	args = append([]string{"audit", "--policy", w.policy, "--state", w.state}, args...)
	code = execute(w.t.Context(), args, streams{out: &bytes.Buffer{}, err: &errs})
	return code, errs.String()
}

// audited is the size that the state file remembers.
func (w *auditWorld) audited() uint64 {
	w.t.Helper()
	raw, err := os.ReadFile(w.state)
	check(w.t, err)
	var s auditState
	check(w.t, json.Unmarshal(raw, &s))
	return s.Size
}

// serve serves a copy; before each answer to a question for the checkpoint it asks for the number
// of such questions so far.
func (w *auditWorld) serve(dir func(asked int32) string) string {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		n := asked.Load()
		if r.URL.Path == "/checkpoint" {
			n = asked.Add(1)
		}
		http.FileServer(http.Dir(dir(n))).ServeHTTP(rw, r)
	}))
	w.t.Cleanup(srv.Close)
	return srv.URL
}

// TestAuditWaitsForANode: a server that is behind what was audited before is waited for, up to
// --timeout. A directory does not grow, so nobody waits for it. The state stays as it was when the
// source does not get there.
func TestAuditWaitsForANode(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	if code, said := w.audit(w.newer); code != exitOK || w.audited() != 5 {
		t.Fatalf("the newer copy: exit code %d, %d entries audited; %s", code, w.audited(), said)
	}
	if code, said := w.audit(w.serve(func(asked int32) string {
		if asked <= 3 {
			return w.older
		}
		return w.newer
	}), "--timeout", "1m"); code != exitOK {
		t.Errorf("a server that catches up: exit code %d; %s", code, said)
	}
	for _, x := range []struct {
		source, timeout string
		least, most     time.Duration
	}{{w.serve(func(int32) string { return w.older }), "1s", time.Second, time.Minute}, {w.older, "2m", 0, time.Minute}} {
		began := time.Now()
		code, said := w.audit(x.source, "--timeout", x.timeout)
		if took := time.Since(began); took < x.least || took > x.most {
			t.Errorf("%s with --timeout %s took %v", x.source, x.timeout, took)
		}
		if code != exitUnavailable || !strings.Contains(said, "has 3 entries, 5 were audited before") {
			t.Errorf("%s stays behind: exit code %d, want %d; %s", x.source, code, exitUnavailable, said)
		}
		if w.audited() != 5 {
			t.Errorf("%s stays behind, and %d entries count as audited", x.source, w.audited())
		}
	}
}

// TestAuditStateNeverGoesBack: an audit that ends after a longer one has ended does not undo it.
func TestAuditStateNeverGoesBack(t *testing.T) {
	t.Parallel()
	w := newAuditWorld(t)
	other := *w
	other.state = filepath.Join(t.TempDir(), "state.json")
	if code, said := other.audit(w.newer); code != exitOK {
		t.Fatalf("exit code %d; %s", code, said)
	}
	meanwhile, err := os.ReadFile(other.state)
	check(t, err)
	// The longer audit ends while the shorter one reads.
	url := w.serve(func(asked int32) string {
		if asked > 0 {
			check(t, os.WriteFile(w.state, meanwhile, 0o644))
		}
		return w.older
	})
	if code, said := w.audit(url); code != exitOK || w.audited() != 5 {
		t.Errorf("exit code %d, %d entries count as audited, want 5; %s", code, w.audited(), said)
	}
	check(t, os.Remove(w.state))
	for source, want := range map[string]uint64{w.older: 3, w.newer: 5} {
		check(t, os.RemoveAll(w.state))
		if code, said := w.audit(source); code != exitOK || w.audited() != want {
			t.Errorf("%s: exit code %d, %d entries count as audited, want %d; %s", source, code, w.audited(), want, said)
		}
	}
}
