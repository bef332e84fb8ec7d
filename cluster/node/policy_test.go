package node_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// TestPolicyAndQuorumAgree: a node refuses a policy that demands another number of cosignatures
// than it seals with, whichever is larger.
func TestPolicyAndQuorumAgree(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.Create(local.Options{Dir: filepath.Join(t.TempDir(), "c"), Nodes: 3, Executable: exe})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := node.LoadConfig(filepath.Join(c.NodeDir("n1"), "node.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(cfg.Policy)
	if err != nil {
		t.Fatal(err)
	}
	made, err := tlog.ParsePolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	for demanded := 1; demanded <= 3; demanded++ {
		policy, err := tlog.NewPolicy(made.Logs(), made.Cosigners(), demanded)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(cfg.Policy, policy.Marshal(), 0o644); err != nil {
			t.Fatal(err)
		}
		for quorum, sealed := range map[string]int{"majority": 2, "2": 2, "3": 3} {
			cfg.Seal.Quorum = quorum
			err := node.Check(cfg)
			switch {
			case demanded == sealed && err != nil:
				t.Errorf("policy of %d, seal.quorum %s: %v", demanded, quorum, err)
			case demanded != sealed && (!errors.Is(err, node.ErrConfig) || !strings.Contains(err.Error(), fmt.Sprintf("demands %d cosignatures", demanded))):
				t.Errorf("policy of %d, seal.quorum %s: %v, want ErrConfig that names both numbers", demanded, quorum, err)
			}
		}
	}
}
