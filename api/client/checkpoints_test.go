package client_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
)

// TestStateFile: what one client has verified, the next one starts from.
func TestStateFile(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 1, fakecluster.Options{})
	p := profile(t, cluster, "state")
	c := connect(t, p)
	for range 3 {
		mustAppend(t, c, entry("", "x"), client.Sealed())
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(p.State)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("state file: %v, %v", info, err)
	}
	next := connect(t, p)
	if cp := next.LastCheckpoint(); cp == nil || cp.Size != 3 {
		t.Errorf("the next client knows %+v, want size 3", cp)
	}
	if cp, err := next.Checkpoint(within(t)); err != nil || cp.Size != 3 {
		t.Errorf("got %+v, %v", cp, err)
	}

	note, err := os.ReadFile(p.State)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]string{
		"flipped": strings.Replace(string(note), "\n3\n", "\n2\n", 1), "empty": "", "cut": string(note[:len(note)/2]), "large": strings.Repeat("x", 1<<20),
	} {
		if err := os.WriteFile(p.State, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := client.Dial(t.Context(), p, client.WithCredentials(fakecluster.Principal, fakecluster.Insecure)); err == nil {
			_ = c.Close()
			t.Errorf("a state file that is %s was believed", name)
		}
	}
}

// TestFork: two histories signed by the same keys are detected, named and kept as evidence,
// whatever their sizes.
func TestFork(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name         string
		known, shown int
	}{{"same size", 10, 10}, {"shown is newer", 10, 17}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			keys := fakecluster.NewKeys(t, 1)
			honest := fakecluster.New(t, 1, fakecluster.Options{Keys: keys})
			forked := fakecluster.New(t, 1, fakecluster.Options{Keys: keys})
			p := profile(t, honest, "state")
			c := connect(t, p)
			fill(t, c, tc.known)
			if _, err := c.Receipt(within(t), 0); err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			writer := connect(t, profile(t, forked, ""))
			for range tc.shown {
				mustAppend(t, writer, entry("", "another history"))
			}
			forked.SealNow()

			p.Endpoints[0].Address = forked.Nodes[0].Address
			c = connect(t, p)
			for what, call := range map[string]func() error{
				"Checkpoint": func() error { _, err := c.Checkpoint(within(t)); return err },
				"Receipt":    func() error { _, err := c.Receipt(within(t), 3); return err },
				"Append":     func() error { _, err := c.Append(within(t), entry("k", "dup"), client.Sealed()); return err },
			} {
				if what == "Append" && tc.name == "same size" {
					continue // it would change the size
				}
				err := call()
				var fork *client.ForkError
				if !errors.As(err, &fork) {
					t.Fatalf("%s: got %v, want a fork", what, err)
				}
				if client.IsDefinite(err) {
					t.Errorf("%s: a fork is no definite failure", what)
				}
				evidence, readErr := os.ReadFile(fork.Evidence)
				if readErr != nil || !strings.Contains(string(evidence), string(fork.KnownNote)) || !strings.Contains(string(evidence), string(fork.ShownNote)) {
					t.Errorf("%s: the evidence does not hold both checkpoints: %v", what, readErr)
				}
				for _, part := range []string{"FORK", fork.Known.Root.String(), fork.Shown.Root.String(), fork.Evidence} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%s: %q does not name %s", what, err, part)
					}
				}
			}
			if cp := c.LastCheckpoint(); cp.Size != uint64(tc.known) {
				t.Errorf("after the fork the client believes size %d, want %d", cp.Size, tc.known)
			}
		})
	}
}

// TestForkBehind: an older checkpoint of another history, from a node that cannot be asked for
// proofs of the newer size, is not believed; as soon as one node can be asked, it is a fork.
func TestForkBehind(t *testing.T) {
	t.Parallel()
	keys := fakecluster.NewKeys(t, 1)
	honest := fakecluster.New(t, 1, fakecluster.Options{Keys: keys})
	forked := fakecluster.New(t, 1, fakecluster.Options{Keys: keys})
	p := profile(t, honest, "state")
	c := connect(t, p)
	fill(t, c, 17)
	if _, err := c.Receipt(within(t), 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	fill(t, connect(t, profile(t, forked, "")), 10)
	forked.SealNow()
	p.Endpoints = []client.Endpoint{{Name: "n1", Address: forked.Nodes[0].Address}}
	_, err := connect(t, p).Checkpoint(within(t))
	var v *client.VerificationError
	if !errors.As(err, &v) || !errors.Is(err, client.ErrNotProved) {
		t.Errorf("alone: got %v", err)
	}
	p.Endpoints = append(p.Endpoints, client.Endpoint{Name: "n2", Address: honest.Nodes[0].Address})
	eventually(t, "the forked node is asked first", func() bool {
		_, err := connect(t, p).Checkpoint(within(t))
		var fork *client.ForkError
		if err != nil && !errors.As(err, &fork) {
			t.Fatalf("got %v, want a fork", err)
		}
		return err != nil
	})
}

// TestForkOfAKnownSize: that a size was proved once does not make another root for it pass later.
func TestForkOfAKnownSize(t *testing.T) {
	t.Parallel()
	keys := fakecluster.NewKeys(t, 1)
	honest := fakecluster.New(t, 1, fakecluster.Options{Keys: keys})
	forked := fakecluster.New(t, 1, fakecluster.Options{Keys: keys})
	c := connect(t, profile(t, honest, ""))
	for _, more := range []int{5, 3} {
		fill(t, c, more)
		honest.SealNow()
		if _, err := c.Checkpoint(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	writer := connect(t, profile(t, forked, ""))
	for range 5 {
		mustAppend(t, writer, entry("", "another history"))
	}
	forked.SealNow()
	honest.Nodes[0].Replica = &liar{Ledger: honest.Nodes[0].Ledger(), sealed: func(*ledger.Sealed) *ledger.Sealed {
		return forked.Nodes[0].Ledger().Sealed()
	}}
	_, err := c.Checkpoint(within(t))
	var fork *client.ForkError
	if !errors.As(err, &fork) || fork.Known.Size != 8 || fork.Shown.Size != 5 {
		t.Errorf("got %v, want a fork of the known size 8 and the shown size 5", err)
	}
}

// TestNodesAtDifferentSizes: an older checkpoint from a node that lags is no fork.
func TestNodesAtDifferentSizes(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 2, fakecluster.Options{})
	p := profile(t, cluster, "state")
	first := connect(t, p)
	fill(t, first, 5)
	cluster.SealNow()
	cluster.Nodes[1].Lag(true)
	mustAppend(t, first, entry("", "x"), client.Sealed())
	mustAppend(t, first, entry("", "y"), client.Sealed())
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	// The second client knows size 7 and meets size 5 and, at times, 7.
	c := connect(t, p)
	p.Endpoints[0], p.Endpoints[1] = p.Endpoints[1], p.Endpoints[0]
	seen := map[uint64]bool{}
	eventually(t, "both sizes are shown", func() bool {
		cp, err := c.Checkpoint(within(t))
		if err != nil {
			t.Fatal(err)
		}
		seen[cp.Size] = true
		c.Close()
		c = connect(t, p) // another one starts with another node
		return seen[5] && seen[7]
	})
	if last := c.LastCheckpoint(); last.Size != 7 {
		t.Errorf("the newest known is %d, want 7", last.Size)
	}
}

// liar is a replica that lies in one way.
type liar struct {
	server.Ledger
	leaf        func(index uint64, leaf []byte) []byte
	inclusion   func([]merkle.Hash) []merkle.Hash
	consistency func([]merkle.Hash) []merkle.Hash
	root        func(merkle.Hash) merkle.Hash
	rootOf      map[uint64]merkle.Hash
	sealed      func(*ledger.Sealed) *ledger.Sealed
	tile        func([]byte) []byte
	shift       uint64
}

func (l *liar) Leaves(first uint64, most, bytes int) ([][]byte, error) {
	leaves, err := l.Ledger.Leaves(first+l.shift, most, bytes)
	if l.leaf != nil {
		for i := range leaves {
			leaves[i] = l.leaf(first+uint64(i), append([]byte(nil), leaves[i]...))
		}
	}
	return leaves, err
}

func (l *liar) Tile(level uint8, index uint64, width int) ([]byte, error) {
	raw, err := l.Ledger.Tile(level, index, width)
	if l.tile != nil {
		raw = l.tile(raw)
	}
	return raw, err
}

func (l *liar) Leaf(index uint64) ([]byte, error) {
	leaves, err := l.Leaves(index, 1, 0)
	if err != nil {
		return nil, err
	}
	return leaves[0], nil
}

func (l *liar) InclusionProof(index, size uint64) ([]merkle.Hash, error) {
	p, err := l.Ledger.InclusionProof(index, size)
	if l.inclusion != nil {
		p = l.inclusion(p)
	}
	return p, err
}

func (l *liar) ConsistencyProof(oldSize, newSize uint64) ([]merkle.Hash, error) {
	p, err := l.Ledger.ConsistencyProof(oldSize, newSize)
	if l.consistency != nil {
		p = l.consistency(p)
	}
	return p, err
}

func (l *liar) RootAt(size uint64) (merkle.Hash, error) {
	h, err := l.Ledger.RootAt(size)
	if l.root != nil {
		h = l.root(h)
	}
	if other, ok := l.rootOf[size]; ok {
		h = other
	}
	return h, err
}

func (l *liar) Sealed() *ledger.Sealed {
	s := l.Ledger.Sealed()
	if l.sealed != nil && s != nil {
		s = l.sealed(s)
	}
	return s
}

// TestLies: whatever a node shows that does not verify is an error, never a result.
func TestLies(t *testing.T) {
	t.Parallel()
	flip := func(h merkle.Hash) merkle.Hash { h[7] ^= 1; return h }
	flipFirst := func(p []merkle.Hash) []merkle.Hash {
		p = append([]merkle.Hash(nil), p...)
		if len(p) > 0 {
			p[0] = flip(p[0])
		}
		return p
	}
	flipLeaf := func(_ uint64, leaf []byte) []byte { leaf[len(leaf)-1] ^= 1; return leaf }
	receipt := func(c *client.Client) error { _, err := c.Receipt(within(t), 3); return err }
	appendSealed := func(c *client.Client) error {
		_, err := c.Append(within(t), entry("k", "payload"), client.Sealed())
		return err
	}
	checkpoint := func(c *client.Client) error { _, err := c.Checkpoint(within(t)); return err }
	inclusion := func(c *client.Client) error { _, err := c.InclusionProof(within(t), 3, 8); return err }
	consistency := func(c *client.Client) error { _, err := c.ConsistencyProof(within(t), 3, 8); return err }
	cases := []struct {
		name string
		lie  liar
		call func(*client.Client) error
	}{
		{"receipt with another leaf", liar{leaf: flipLeaf}, receipt},
		{"receipt with a leaf that is none", liar{leaf: func(uint64, []byte) []byte { return []byte("x") }}, receipt},
		{"receipt with a wrong proof", liar{inclusion: flipFirst}, receipt},
		{"receipt with a cut proof", liar{inclusion: func(p []merkle.Hash) []merkle.Hash { return p[1:] }}, receipt},
		{"receipt of a neighbour", liar{shift: 1}, receipt},
		{"sealed append with another leaf", liar{leaf: flipLeaf}, appendSealed},
		{"sealed append with a wrong proof", liar{tile: func(raw []byte) []byte {
			raw[5] ^= 1
			return raw
		}}, appendSealed},
		{"checkpoint with a flipped root", liar{sealed: func(s *ledger.Sealed) *ledger.Sealed {
			note := []byte(strings.Replace(string(s.Note), "\n8\n", "\n9\n", 1))
			return &ledger.Sealed{Size: s.Size, Root: s.Root, Note: note}
		}}, checkpoint},
		{"checkpoint without signatures", liar{sealed: func(s *ledger.Sealed) *ledger.Sealed {
			text, _, _ := strings.Cut(string(s.Note), "\n\n")
			return &ledger.Sealed{Size: s.Size, Root: s.Root, Note: []byte(text + "\n\n")}
		}}, checkpoint},
		{"inclusion with a wrong proof", liar{inclusion: flipFirst}, inclusion},
		{"inclusion with a wrong root", liar{root: flip}, inclusion},
		{"inclusion of another leaf", liar{leaf: flipLeaf}, inclusion},
		{"consistency with a wrong proof", liar{consistency: flipFirst}, consistency},
		{"consistency with a wrong root", liar{root: flip}, consistency},
		{"an entry that is none", liar{leaf: func(uint64, []byte) []byte { return nil }}, func(c *client.Client) error {
			_, err := c.Get(within(t), 3)
			return err
		}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cluster, c := start(t, 1)
			fill(t, c, 7)
			mustAppend(t, c, entry("k", "payload"))
			cluster.SealNow()
			tc.lie.Ledger = cluster.Nodes[0].Ledger()
			cluster.Nodes[0].Replica = &tc.lie
			err := tc.call(c)
			var v *client.VerificationError
			if !errors.As(err, &v) || v.Node != "n1" && tc.name != "an entry that is none" {
				t.Errorf("got %v, want a verification error of n1", err)
			}
			if client.IsDefinite(err) {
				t.Error("a lie is no definite failure")
			}
			cluster.Nodes[0].Replica = nil
			if err := tc.call(c); err != nil {
				t.Errorf("without the lie: %v", err)
			}
		})
	}
}

// TestNoEvidenceWithoutState: a client without a state file detects forks as well.
func TestNoEvidenceWithoutState(t *testing.T) {
	t.Parallel()
	keys := fakecluster.NewKeys(t, 1)
	a := fakecluster.New(t, 1, fakecluster.Options{Keys: keys})
	b := fakecluster.New(t, 1, fakecluster.Options{Keys: keys})
	c := connect(t, profile(t, a, ""))
	mustAppend(t, c, entry("", "a"), client.Sealed())
	mustAppend(t, connect(t, profile(t, b, "")), entry("", "b"), client.Sealed())
	a.Nodes[0].Replica = b.Nodes[0].Ledger()
	_, err := c.Checkpoint(within(t))
	var fork *client.ForkError
	if !errors.As(err, &fork) || fork.Evidence != "" {
		t.Errorf("got %v", err)
	}
}

// TestWithoutVerification: a client that believes the nodes remembers nothing, and leaves no state
// file.
func TestWithoutVerification(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 1, fakecluster.Options{})
	p := profile(t, cluster, "state")
	c := connect(t, p, client.WithoutVerification())
	a := mustAppend(t, c, entry("", "x"), client.Sealed())
	if a.Receipt == nil || string(a.Receipt.Entry().Payload) != "x" {
		t.Errorf("got %+v, want a receipt that was parsed", a)
	}
	if cp, err := c.Checkpoint(within(t)); err != nil || cp.Size != 1 {
		t.Errorf("got %+v, %v, want the checkpoint of size 1", cp, err)
	}
	if cp := c.LastCheckpoint(); cp != nil {
		t.Errorf("%+v is remembered as if it had been verified", cp)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(p.State); !os.IsNotExist(err) {
		t.Errorf("the state file: %v, want none", err)
	}
}

// TestStateCannotBeWritten: a client whose state file could not be written says so when it is
// closed.
func TestStateCannotBeWritten(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 1, fakecluster.Options{})
	p := profile(t, cluster, "state")
	c, err := client.Dial(t.Context(), p, client.WithCredentials(fakecluster.Principal, fakecluster.Insecure))
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, c, entry("", "x")) // nothing that would be written
	if err := os.Remove(filepath.Dir(p.State)); err != nil {
		t.Fatal(err)
	}
	cluster.SealNow()
	if _, err := c.Checkpoint(within(t)); err != nil {
		t.Errorf("the checkpoint itself: %v", err)
	}
	if err := c.Close(); err == nil || !strings.Contains(err.Error(), "state") {
		t.Errorf("close: %v, want an error about the state file", err)
	}
}

// TestTwoProcessesOneState: a slower process does not put an older checkpoint over a newer one.
func TestTwoProcessesOneState(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 2, fakecluster.Options{})
	p := profile(t, cluster, "state")
	behind := p
	behind.Endpoints = p.Endpoints[1:] // only the node that lags
	slow, fast := connect(t, behind), connect(t, p)
	mustAppend(t, fast, entry("", "1"), client.Sealed())
	cluster.Nodes[1].Lag(true)
	mustAppend(t, fast, entry("", "2"), client.Sealed())
	if err := fast.Close(); err != nil {
		t.Fatal(err)
	}
	newer, err := os.ReadFile(p.State)
	if err != nil {
		t.Fatal(err)
	}
	if cp, err := slow.Checkpoint(within(t)); err != nil || cp.Size != 1 {
		t.Fatalf("got %+v, %v, want size 1", cp, err)
	}
	if err := slow.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(p.State); err != nil || string(got) != string(newer) {
		t.Errorf("the state went back: %q, %v", got, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(p.State), ".*")); len(left) != 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}
