package client_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
)

const second = "fake.example/second"

// TestForLedger: another ledger has the same cluster and a state file of its own.
func TestForLedger(t *testing.T) {
	p := client.Profile{Origin: "a.example/l", Policy: "policy", State: "/x/writer.state", ClusterID: "00000000000000ab"}
	for origin, state := range map[string]string{
		"a.example/l":           "/x/writer.state",
		"b":                     "/x/writer.state.b",
		"b.example/l":           "/x/writer.state.b.example%2Fl",
		"..":                    "/x/writer.state...",
		"../..":                 "/x/writer.state...%2F..",
		"a%2Fb":                 "/x/writer.state.a%252Fb",
		strings.Repeat("/", 41): fmt.Sprintf("/x/writer.state.%x", sha256.Sum256([]byte(strings.Repeat("/", 41)))),
	} {
		q := p.ForLedger(origin)
		if q.Origin != origin || q.State != state || q.Policy != p.Policy || q.ClusterID != p.ClusterID {
			t.Errorf("%s: %+v, want state %s", origin, q, state)
		}
	}
	p.State = ""
	if q := p.ForLedger("b"); q.State != "" {
		t.Errorf("a profile without a state file gets one: %s", q.State)
	}
}

// TestTwoLedgersOfOneProfile: each client writes to, reads from and believes its ledger alone, and
// keeps its own state.
func TestTwoLedgersOfOneProfile(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 3, fakecluster.Options{})
	hosted := cluster.Host(second, nil)
	hosted.Lead(hosted.Nodes[2])
	p := profile(t, cluster, "state")
	q := p.ForLedger(second)
	first, other := connect(t, p), connect(t, q)
	mustAppend(t, first, entry("", "so that the indexes are the same"))
	a := mustAppend(t, first, entry("k", "of the first"), client.Sealed())
	b := mustAppend(t, other, entry("k", "of the second"), client.Sealed())
	if a.Index != 1 || b.Index != 1 || b.Duplicate {
		t.Fatalf("appended at %d and %d, want 1 and 1", a.Index, b.Index)
	}
	for c, want := range map[*client.Client][2]string{first: {fakecluster.Origin, "of the first"}, other: {second, "of the second"}} {
		e, err := c.Get(within(t), 1)
		if err != nil || string(e.Payload) != want[1] {
			t.Errorf("%s: entry 1 is %q, %v", want[0], e.Payload, err)
		}
		cp, err := c.Checkpoint(within(t))
		if err != nil || cp.Origin != want[0] {
			t.Errorf("%s: checkpoint %+v, %v", want[0], cp, err)
		}
		r, err := c.Receipt(within(t), 1)
		if err != nil || string(r.Entry().Payload) != want[1] || r.Sealed().Origin != want[0] {
			t.Errorf("%s: receipt of %q, %v", want[0], r.Entry().Payload, err)
		}
		if v, err := c.VerifyOnline(within(t), r.Marshal()); err != nil || !v.Valid {
			t.Errorf("%s: verdict %+v, %v", want[0], v, err)
		}
		var seen []string
		if _, err := c.Range(within(t), 1, 0, func(e client.StoredEntry) error { seen = append(seen, string(e.Payload)); return nil }); err != nil || len(seen) != 1 || seen[0] != want[1] {
			t.Errorf("%s: range %q, %v", want[0], seen, err)
		}
		must(t, c.Close())
	}
	for path, origin := range map[string]string{p.State: fakecluster.Origin, q.State: second} {
		if note, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(note), origin+"\n") {
			t.Errorf("%s: %.40q, %v; want a checkpoint of %s", path, note, err, origin)
		}
	}
}

// TestDerivedPolicyIsConfirmed: a ledger that the policy does not list is believed only if its
// genesis names the same cosigners and quorum. Otherwise every way to a checkpoint fails, and
// nothing is remembered.
func TestDerivedPolicyIsConfirmed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		edit func(*ledger.Genesis)
		lie  func(server.Ledger) server.Ledger
		says string // "" if the ledger is to be believed
	}{
		"as it should be": {nil, nil, ""},
		"another quorum":  {func(g *ledger.Genesis) { g.SealQuorum = 3 }, nil, "sealed by 3 of its 3 members, the policy demands 2 of 3"},
		"fewer members":   {func(g *ledger.Genesis) { g.Members = g.Members[:2] }, nil, "counts the cosigner key fake.example/ledger/n3"},
		"another entry 0": {nil, func(l server.Ledger) server.Ledger {
			return &liar{Ledger: l, leaf: func(uint64, []byte) []byte { return []byte("x") }}
		}, "does not verify"},
		"no proof": {nil, func(l server.Ledger) server.Ledger {
			return &liar{Ledger: l, inclusion: func([]merkle.Hash) []merkle.Hash { return nil }}
		}, "does not verify"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := fakecluster.New(t, 3, fakecluster.Options{})
			hosted := cluster.Host(second, tc.edit)
			p := profile(t, cluster, "state").ForLedger(second)
			mustAppend(t, connect(t, p), entry("", "so that there is a proof"))
			hosted.SealNow()
			if tc.lie != nil {
				for _, n := range hosted.Nodes {
					n.Replica = tc.lie(n.Ledger())
				}
			}
			for what, call := range map[string]func(*client.Client) error{
				"checkpoint": func(c *client.Client) error { _, err := c.Checkpoint(within(t)); return err },
				"receipt":    func(c *client.Client) error { _, err := c.Receipt(within(t), 1); return err },
				"append": func(c *client.Client) error {
					_, err := c.Append(within(t), entry("", "x"), client.Sealed())
					return err
				},
			} {
				c := connect(t, p)
				err := call(c)
				var v *client.VerificationError
				switch {
				case tc.says == "":
					if err != nil || c.LastCheckpoint() == nil {
						t.Errorf("%s: %v", what, err)
					}
					continue
				case !errors.As(err, &v) || v.What != "genesis" || v.Node == "" || !strings.Contains(err.Error(), tc.says):
					t.Errorf("%s: %v, want a verification error of the genesis that says %q", what, err, tc.says)
				}
				if c.LastCheckpoint() != nil {
					t.Errorf("%s: the client believes %+v", what, c.LastCheckpoint().Checkpoint)
				}
				must(t, c.Close())
				if _, err := os.Stat(p.State); !os.IsNotExist(err) {
					t.Errorf("%s: the state file exists: %v", what, err)
				}
			}
		})
	}
}

// TestGenesisIsAskedForOnce: what was compared is not compared again, by this client or by another
// one that has its state file; and one node that cannot show the genesis is no obstacle.
func TestGenesisIsAskedForOnce(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 3, fakecluster.Options{})
	hosted := cluster.Host(second, nil)
	forged := func(n *fakecluster.Node) {
		n.Replica = &liar{Ledger: n.Ledger(), leaf: func(i uint64, leaf []byte) []byte {
			if i == 0 {
				return []byte("x")
			}
			return leaf
		}}
	}
	p := profile(t, cluster, "state").ForLedger(second)
	c := connect(t, p)
	forged(hosted.Nodes[1])
	forged(hosted.Nodes[2])
	for i := range 3 { // whichever node is asked first
		mustAppend(t, c, entry("", fmt.Sprint(i)), client.Sealed())
	}
	forged(hosted.Nodes[0])
	mustAppend(t, c, entry("", "more"), client.Sealed())
	must(t, c.Close())
	mustAppend(t, connect(t, p), entry("", "more"), client.Sealed())
	p.State = ""
	_, err := connect(t, p).Append(within(t), entry("", "more"), client.Sealed())
	var v *client.VerificationError
	if !errors.As(err, &v) || v.What != "genesis" {
		t.Errorf("a client that has not compared: %v, want a verification error of the genesis", err)
	}
}

// TestLedgerWithoutGenesis: a ledger that begins with another entry is not believed under a derived
// policy.
func TestLedgerWithoutGenesis(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 1, fakecluster.Options{}) // its ledger has no genesis
	p := profile(t, cluster, "")
	elsewhere, err := cluster.Keys.Policy.For("fake.example/directory")
	must(t, err)
	must(t, os.WriteFile(p.Policy, elsewhere.Marshal(), 0o600))
	_, err = connect(t, p).Append(within(t), entry("", "x"), client.Sealed())
	var v *client.VerificationError
	if !errors.As(err, &v) || !errors.Is(err, ledger.ErrNoGenesis) {
		t.Errorf("got %v, want a verification error that matches ErrNoGenesis", err)
	}
}

// TestPolicyOfTwoOtherLedgers: Dial cannot tell whose key signs.
func TestPolicyOfTwoOtherLedgers(t *testing.T) {
	t.Parallel()
	ours, _ := fakecluster.TwoLedgers(t, "other.example/ledger")
	cluster := fakecluster.New(t, 1, fakecluster.Options{Keys: ours})
	p := profile(t, cluster, "").ForLedger(second)
	_, err := client.Dial(t.Context(), p, client.WithCredentials(fakecluster.Principal, fakecluster.Insecure))
	if err == nil || !strings.Contains(err.Error(), p.Policy) || !strings.Contains(err.Error(), "add a log line") {
		t.Errorf("got %v, want an error that names the policy and says what to do", err)
	}
}

// TestLedgerThatOneNodeDoesNotHost: a node that has not learnt of a ledger yet does not stop a
// call; the call fails, definitely and at once, when no node hosts it.
func TestLedgerThatOneNodeDoesNotHost(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 3, fakecluster.Options{Peer: fakecluster.Admin})
	hosted := cluster.Host(second, nil)
	hosted.Lead(hosted.Nodes[2])
	p := profile(t, cluster, "").ForLedger(second)
	calls := map[string]func(context.Context, *client.Client) error{
		"head": func(ctx context.Context, c *client.Client) error { _, err := c.Head(ctx); return err },
		"range": func(ctx context.Context, c *client.Client) error {
			_, err := c.Range(ctx, 0, 1, func(client.StoredEntry) error { return nil })
			return err
		},
		"lead": func(ctx context.Context, c *client.Client) error {
			_, err := c.TransferLeadership(ctx, "")
			hosted.Lead(hosted.Nodes[2])
			return err
		},
	}
	for name, send := range senders {
		calls["append, "+name] = func(ctx context.Context, c *client.Client) error { return send(ctx, c, entry("", "x")) }
	}
	cluster.Nodes[0].Forget(second)
	cluster.Nodes[1].Forget(second)
	for name, call := range calls {
		for range 4 { // each client begins with a node at random
			if err := call(within(t), connect(t, p)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	cluster.Nodes[2].Forget(second)
	for _, down := range []bool{false, true} {
		if down {
			cluster.Nodes[1].Kill()
		}
		for name, call := range calls {
			began := time.Now()
			wantError(t, call(within(t), connect(t, p)), client.ReasonOtherLedger, true)
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("%s: it took %s to learn that no node hosts the ledger", name, took)
			}
		}
	}
}

// TestDirectory: ledgers are created by whoever leads the directory, listed and shown by any node.
func TestDirectory(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 3, fakecluster.Options{Peer: fakecluster.Admin})
	c := connect(t, profile(t, cluster, ""))
	for i := range 3 {
		cluster.Lead(cluster.Nodes[i])
		info, created, err := c.CreateLedger(within(t), fmt.Sprintf("fake.example/%d", 2-i), "log", ledger.Parameter{Name: "b", Value: "2"}, ledger.Parameter{Name: "a"})
		if err != nil || !created || info.Origin != fmt.Sprintf("fake.example/%d", 2-i) || len(info.Parameters) != 2 || len(info.Members) != 3 {
			t.Fatalf("ledger %d: %v, %v, %v", i, info, created, err)
		}
	}
	if _, created, err := c.CreateLedger(within(t), "fake.example/0", "log", ledger.Parameter{Name: "a"}, ledger.Parameter{Name: "b", Value: "2"}); err != nil || created {
		t.Errorf("created again: %v, %v", created, err)
	}
	_, _, err := c.CreateLedger(within(t), "fake.example/0", "log")
	wantError(t, err, client.ReasonLedgerExists, true)
	_, _, err = c.CreateLedger(within(t), "fake.example/3", "nonsense")
	wantError(t, err, client.ReasonInvalid, true)
	list, err := c.Ledgers(within(t))
	if err != nil || len(list) != 3 || list[0].Origin != "fake.example/0" || list[2].Origin != "fake.example/2" {
		t.Errorf("listed: %v, %v", list, err)
	}
	if info, err := c.ShowLedger(within(t), "fake.example/1"); err != nil || info.Origin != "fake.example/1" {
		t.Errorf("shown: %v, %v", info, err)
	}
	_, err = c.ShowLedger(within(t), "fake.example/3")
	wantError(t, err, "UNKNOWN_LEDGER", true)
	there := connect(t, profile(t, cluster, "").ForLedger("fake.example/1"))
	mustAppend(t, there, entry("", "x"), client.Sealed())
}

// TestCreationOfUnknownOutcome: the client repeats it until it knows, and calls an error definite
// only if the last answer excludes that an attempt had its effect.
func TestCreationOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 1, fakecluster.Options{Peer: fakecluster.Admin})
	c := connect(t, profile(t, cluster, ""))
	var calls atomic.Int32
	cluster.Nodes[0].AfterCreate = func() error {
		if calls.Add(1) == 1 {
			return server.ErrIndefinite
		}
		return nil
	}
	if info, created, err := c.CreateLedger(within(t), second, "log"); err != nil || created || info.Origin != second || calls.Load() != 2 {
		t.Errorf("got %v, %v, %v after %d calls; want the ledger that the first call created", info, created, err, calls.Load())
	}
	for i, tc := range []struct {
		then     error // answers every attempt after the first
		reason   string
		definite bool
	}{
		{errors.Wrap(server.ErrBadLedger, "x"), client.ReasonInvalid, false},
		{&server.LedgerExistsError{Origin: second}, client.ReasonLedgerExists, true},
	} {
		calls.Store(0)
		cluster.Nodes[0].AfterCreate = func() error {
			if calls.Add(1) == 1 {
				return server.ErrIndefinite
			}
			return tc.then
		}
		_, _, err := c.CreateLedger(within(t), fmt.Sprint("fake.example/", i), "log")
		wantError(t, err, tc.reason, tc.definite)
	}
}
