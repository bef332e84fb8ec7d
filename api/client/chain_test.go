package client_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/ledger/policychain"
)

type policyVector struct {
	Name, Chain, Receipt, Says string
	Epoch                      uint32
}

// policyVectors are the published ones: of a ledger whose policy has epoch 3.
type policyVectors struct {
	Policy, Chain     string
	Accepted, Refused []policyVector
}

// chain is that of the vectors, unless this one has another.
func (c *policyVector) chain(v *policyVectors) []byte {
	if c.Chain != "" {
		return []byte(c.Chain)
	}
	return []byte(v.Chain)
}

func readPolicyVectors(t *testing.T) *policyVectors {
	t.Helper()
	text, err := os.ReadFile("../../ledger/policychain/testdata/vectors.json")
	must(t, err)
	v := &policyVectors{}
	must(t, json.Unmarshal(text, v))
	return v
}

// upTo is the chain as it was when the policy of this epoch was the newest.
func (v *policyVectors) upTo(t *testing.T, epoch int) []byte {
	t.Helper()
	c, err := policychain.Parse([]byte(v.Chain))
	must(t, err)
	c.Changes = c.Changes[:epoch]
	return c.Marshal()
}

// serving returns a client, with the first policy of the vectors, of a node that answers what the
// script says.
func (v *policyVectors) serving(t *testing.T, state string, s *scripted) *client.Client {
	t.Helper()
	p := client.Profile{Origin: "example.org/chain", Policy: filepath.Join(t.TempDir(), "policy"), State: state}
	must(t, os.WriteFile(p.Policy, []byte(v.Policy), 0o600))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	g := grpc.NewServer()
	cairnv1.RegisterLedgerServer(g, s)
	go func() { _ = g.Serve(ln) }()
	t.Cleanup(g.Stop)
	p.Endpoints = []client.Endpoint{{Name: "n1", Address: ln.Addr().String()}}
	return connect(t, p)
}

// receipt asks for the entry of a receipt, which the node answers with.
func receiptOf(t *testing.T, c *client.Client, s *scripted, receipt string) error {
	t.Helper()
	index := uint64(0)
	for _, line := range strings.Split(receipt, "\n") {
		if n, ok := strings.CutPrefix(line, "index "); ok {
			must(t, json.Unmarshal([]byte(n), &index))
		}
	}
	s.receipt = &cairnv1.ReceiptResponse{Receipt: []byte(receipt)}
	_, err := c.Receipt(within(t), index)
	return err
}

// TestPolicies: the published receipts are accepted and refused under the policy of their size, and
// so are the published chains: offline, and by a client that gets the chain from a node.
func TestPolicies(t *testing.T) {
	t.Parallel()
	v := readPolicyVectors(t)
	trusted, err := client.ParsePolicy([]byte(v.Policy))
	must(t, err)
	for _, c := range v.Accepted {
		chain := c.chain(v)
		policies, err := client.ParsePolicies(chain, trusted)
		must(t, err)
		r, err := client.VerifyOffline([]byte(c.Receipt), policies)
		if err != nil || r.Sealed().Size <= r.Entry().Index {
			t.Errorf("%s: %v", c.Name, err)
		}
		s := &scripted{policies: chain}
		if err := receiptOf(t, v.serving(t, "", s), s, c.Receipt); err != nil {
			t.Errorf("%s, from a node: %v", c.Name, err)
		}
	}
	for _, c := range v.Refused {
		policies, err := client.ParsePolicies(c.chain(v), trusted)
		if c.Receipt != "" {
			must(t, err)
			_, err = client.VerifyOffline([]byte(c.Receipt), policies)
		}
		var bad *client.VerificationError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.Says) {
			t.Errorf("%s: %v, want a *VerificationError with %q", c.Name, err, c.Says)
		}
		s := &scripted{policies: c.chain(v)}
		if c.Receipt == "" {
			_, _, err = v.serving(t, "", s).Policies(within(t))
		} else {
			known := v.serving(t, "", s)
			_, _, err = known.Policies(within(t))
			must(t, err)
			err = receiptOf(t, known, s, c.Receipt)
		}
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.Says) {
			t.Errorf("%s, from a node: %v, want a *VerificationError with %q", c.Name, err, c.Says)
		}
	}
	if _, err := client.ParsePolicies([]byte(v.Chain), nil); err == nil {
		t.Error("a chain is accepted without trust in any policy")
	}
}

// TestPolicyIsLearnt: a checkpoint that a later policy's keys signed makes a client fetch the chain,
// even if the policy that it knows accepts the checkpoint. Without a chain it stays refused.
func TestPolicyIsLearnt(t *testing.T) {
	t.Parallel()
	v := readPolicyVectors(t)
	for name, accepted := range map[string]bool{"in the hand-over, by both": true, "by keys that are all new": false} {
		for _, c := range v.Accepted {
			if c.Name != name {
				continue
			}
			s := &scripted{}
			err := receiptOf(t, v.serving(t, "", s), s, c.Receipt)
			var bad *client.VerificationError
			if accepted != (err == nil) || !accepted && (!errors.As(err, &bad) || !strings.Contains(err.Error(), "no later policy of the ledger was found")) {
				t.Errorf("%s, no chain: %v", name, err)
			}
			s = &scripted{policies: []byte(v.Chain)}
			state := filepath.Join(t.TempDir(), "state")
			if err := receiptOf(t, v.serving(t, state, s), s, c.Receipt); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if chain, err := os.ReadFile(state + ".policies"); err != nil || string(chain) != v.Chain {
				t.Errorf("%s: the verified chain is not kept: %v", name, err)
			}
		}
	}
}

// TestNoWayBack: a client that has verified an epoch, now or in an earlier process, takes no chain
// that ends before it, and nothing that the keys of an earlier policy sign for a later size.
func TestNoWayBack(t *testing.T) {
	t.Parallel()
	v := readPolicyVectors(t)
	state := filepath.Join(t.TempDir(), "state")
	s := &scripted{policies: []byte(v.Chain)}
	c := v.serving(t, state, s)
	if p, _, err := c.Policies(within(t)); err != nil || p.Newest().Epoch() != 3 {
		t.Fatalf("%+v, %v", p, err)
	}
	old := ""
	for _, r := range v.Refused {
		if r.Name == "behind the hand-over, by the old keys" {
			old = r.Receipt
		}
	}
	cut := &scripted{policies: v.upTo(t, 0)}
	for name, c := range map[string]*client.Client{"the same client": c, "a later process": v.serving(t, state, cut)} {
		s.policies = cut.policies
		_, _, err := c.Policies(within(t))
		var bad *client.VerificationError
		if !errors.As(err, &bad) || bad.Node != "n1" || !strings.Contains(err.Error(), "ends with epoch 0, and epoch 3 is known") {
			t.Errorf("%s: a chain that leads back: %v", name, err)
		}
		script := map[bool]*scripted{true: s, false: cut}[name == "the same client"]
		if err := receiptOf(t, c, script, old); !errors.As(err, &bad) {
			t.Errorf("%s: old keys: %v", name, err)
		}
	}
	// Who has seen nothing newer cannot know: the old policy accepts what its keys sign.
	fresh := &scripted{policies: cut.policies}
	if err := receiptOf(t, v.serving(t, "", fresh), fresh, old); err != nil {
		t.Errorf("a client that knows no later policy: %v", err)
	}
	must(t, os.WriteFile(state+".policies", v.upTo(t, 2)[:5000], 0o600))
	if _, err := client.Dial(t.Context(), client.Profile{Origin: "example.org/chain", Policy: writePolicy(t, v.Policy), State: state,
		Endpoints: []client.Endpoint{{Name: "n1", Address: "127.0.0.1:1"}}}, client.WithCredentials(fakecluster.Principal, fakecluster.Insecure)); err == nil || !strings.Contains(err.Error(), "remove the file") {
		t.Errorf("a damaged file of policies: %v", err)
	}
}

func writePolicy(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
